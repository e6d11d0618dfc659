"""What was compiled, shown: a page that holds everything it needs, from the graph to the time of every kernel."""

from elsewhere.compiler.report.account import Account, account
from elsewhere.compiler.report.page import write_page
from elsewhere.compiler.report.timing import Timing, time_runs

__all__ = ["Account", "Timing", "account", "time_runs", "write_page"]
