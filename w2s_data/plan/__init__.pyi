from .advice import Plan as Plan
from .advice import Purchase as Purchase
from .advice import Split as Split
from .planner import LabelPlanner as LabelPlanner
