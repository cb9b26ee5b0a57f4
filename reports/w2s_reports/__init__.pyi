from .render import render as render
from .render import render_stage as render_stage
from .render import stage_line as stage_line
from .report import Report as Report
from .report import build_report as build_report
from .summary import summarize as summarize
