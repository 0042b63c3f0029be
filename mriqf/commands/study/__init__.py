"""`mriqf study`: the experiments, each one command with a table, figures and an answer.

A study writes into one folder, goes on where it was cut off, and without inputs draws its figures again from its table.
"""

from cyclopts import App

STUDIES = (  # command, package in mriqf.studies, help
    ("sampling", "jpeg_report.sampling", "Which draws and losses to train with."),
    ("corruption", "jpeg_report.corruption", "Score against blur, noise, JPEG."),
    ("dataset", "jpeg_report.datasets", "Mean score of whole data sets."),
    ("r", "jpeg_report.acceleration", "Score against the undersampling rate R."),
    ("loss", "jpeg_report.loss", "The score as a loss of restorers."),
    ("restoration", "restorers.restoration", "Restorers of JPEG images."),
    ("ordering", "restorers.ordering", "Which restorer is better, at one budget."),
    ("tuning", "selfsup", "MoDL tuned without ground truth, or with it."),
    ("opinion", "opinion", "Scores against human opinion of JPEGs."),
    ("prior", "restorers.prior", "Deep image prior on JPEG photographs."),
    ("pretext", "transfer", "Does reading JPEG first help MR?"),
    ("claims", "benchmark", "Twelve claims, with bars fixed before."),
)
PACKAGES = {name: f"mriqf.studies.{package}" for name, package, _ in STUDIES}

app = App(name="study", help="Carry out a study: table, figures and an answer in one folder; resumable.")
for name, _, text in STUDIES:
    app.command(f"mriqf.commands.study.run:{name}", name=name, help=text)
app.command("mriqf.commands.study.summary:summary", name="summary", help="The report's claims, from these studies.")
app.command("mriqf.commands.study.summary:summary", name="report", show=False)  # its name in earlier releases
