from .report import Report as Report
from .report import build_report as build_report
from .summary import summarize as summarize
