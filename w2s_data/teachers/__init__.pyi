from .answers import label_answers as label_answers
from .opinions import Opinions as Opinions
from .reliability import TeacherReliability as TeacherReliability
from .reliability import assess_teachers as assess_teachers
from .rules import label_by_rules as label_by_rules
from .rules import rule_votes as rule_votes
