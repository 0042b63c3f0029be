#!/bin/sh
# Score without a network, a home or the right to write into the installation, as a container does: check.sh PREFIX
set -eu
prefix=$(realpath "$1")
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
if unshare --net true 2>/dev/null; then
    alone="unshare --net"
elif unshare --map-root-user --net true 2>/dev/null; then
    alone="unshare --map-root-user --net"
else
    echo "skipped: this system does not let us take the network away (unshare --net)" >&2
    exit 0
fi
cd "$here"
export HOME=/nonexistent MPLCONFIGDIR="$here" PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
$alone sh -c 'test -z "$(ip -o addr show up 2>/dev/null)"'
$alone "$prefix/bin/python" -c 'import socket
try:
    socket.create_connection(("1.1.1.1", 53), 3)
except OSError:
    pass
else:
    raise SystemExit("there is a network")'
$alone "$prefix/bin/mriqf" demo --out demo --accelerations 4 >/dev/null
mkdir -p data/sub-01/anat
echo '{"Name": "demo", "BIDSVersion": "1.10.0"}' > data/dataset_description.json
"$prefix/bin/python" -c 'import gzip, pathlib, matplotlib, nibabel, numpy
packed = pathlib.Path(matplotlib.get_data_path(), "sample_data", "s1045.ima.gz")
image = numpy.frombuffer(gzip.decompress(packed.read_bytes()), ">u2").reshape(256, 256, 1)
nibabel.save(nibabel.Nifti1Image(image.astype("i2"), numpy.eye(4)), "data/sub-01/anat/sub-01_T1w.nii.gz")'
began=$(date +%s)
used=$($alone "$prefix/bin/mriqf" score data/sub-01/anat/sub-01_T1w.nii.gz >/dev/null || exit 1; times)
ended=$(date +%s)
$alone "$prefix/bin/mriqf-bids" data out participant
$alone "$prefix/bin/mriqf-bids" data out group
test -s out/group_quality.html
$alone "$prefix/bin/mriqf" weights list | cut -f1 | tr '\n' ' '
echo "scored without a network"
echo "installed: $(du -sm "$prefix" | cut -f 1) MB; a command with one score: $((ended - began)) s, of a processor" $(echo $used | cut -d ' ' -f 3,4)
