"""`mriqf study`: the experiments, each one command with a table, figures and an answer.

A study writes into one folder, goes on where it was cut off, and without inputs draws its figures again from its table.
"""

from cyclopts import App

app = App(name="study", help="Carry out a study: table, figures and an answer in one folder; resumable.")
app.command("mriqf.commands.study.sampling:sampling", name="sampling", help="Which draws and losses to train with.")
app.command("mriqf.commands.study.corruption:corruption", name="corruption", help="Score against blur, noise, JPEG.")
app.command("mriqf.commands.study.dataset:dataset", name="dataset", help="Mean score of whole data sets.")
app.command("mriqf.commands.study.r:acceleration", name="r", help="Score against the undersampling rate R.")
app.command("mriqf.commands.study.loss:loss", name="loss", help="The score as a loss of restorers.")
app.command("mriqf.commands.study.restoration:restoration", name="restoration", help="Restorers of JPEG images.")
app.command("mriqf.commands.study.ordering:ordering", name="ordering", help="Which restorer is better, at one budget.")
app.command("mriqf.commands.study.tuning:tuning", name="tuning", help="MoDL tuned without truth, or with it.")
app.command("mriqf.commands.study.opinion:opinion", name="opinion", help="Scores against human opinion of JPEGs.")
app.command("mriqf.commands.study.prior:prior", name="prior", help="Deep image prior on JPEG photographs.")
app.command("mriqf.commands.study.claims:claims", name="claims", help="Twelve claims, with bars fixed before.")
app.command("mriqf.commands.study.pretext:pretext", name="pretext", help="Does reading JPEG first help MR?")
app.command("mriqf.commands.study.report:report", name="report", help="The report's claims, from these studies.")
