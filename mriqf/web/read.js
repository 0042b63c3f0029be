// Files to volumes, by their first bytes.

import { isDicom, readDicom } from "./dicom.js";
import { niftiHeader, readNifti } from "./nifti.js";
import { readNumpy } from "./numpy.js";
import { readPng } from "./png.js";
import { unpacked } from "./volume.js";

/** Volumes in files, each `{name, bytes}`, and those that could not be read, each `{name, reason}`. */
export async function readFiles(files) {
  const [volumes, failed, dicom] = [[], [], []];
  for (const { name, bytes } of files)
    try {
      const plain = bytes[0] === 0x1f && bytes[1] === 0x8b ? await unpacked(bytes, "gzip") : bytes;
      if (isDicom(plain)) dicom.push({ name, bytes: plain });
      else volumes.push(await readOne(name, plain));
    } catch (error) {
      failed.push({ name, reason: error.message });
    }
  const series = readDicom(dicom);
  return { volumes: [...volumes, ...series.volumes], failed: [...failed, ...series.failed] };
}

async function readOne(name, bytes) {
  if (niftiHeader(bytes)) return readNifti(name, bytes);
  const start = String.fromCharCode(...bytes.subarray(0, 8));
  if (start.startsWith("\x93NUMPY")) return readNumpy(name, bytes);
  if (start.startsWith("\x89PNG")) return readPng(name, bytes);
  throw new Error("is neither NIfTI, DICOM, NumPy nor PNG: save it as one of these, or score it with mriqf score");
}
