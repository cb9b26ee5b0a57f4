"""A program that is asked for labels, with the faults that its arguments name.

    python judge.py LOG [FAULT]

A text with "good" is positive. LOG gets a line "REQUEST ID" per question, before its answer.
"""

import json
import sys
import time
from pathlib import Path


def main() -> None:
    """Answer all questions."""
    log, fault = Path(sys.argv[1]), [*sys.argv[2:], ""][0]
    for number, line in enumerate(sys.stdin):
        question = json.loads(line)
        with log.open("a") as file:
            file.write(f"{question['request']} {question['id']}\n")
        answer = {
            "id": question["id"],
            "label": "positive" if "good" in question["item"] else "negative",
        }
        if fault == "hangs" and len(log.read_text().splitlines()) > 2:
            time.sleep(600)
        elif fault == "fails" and number == 2:
            sys.exit("judge: out of quota")
        elif fault == "few" and number == 2:
            continue
        elif fault == "ids" and number == 2:
            answer["id"] = "other"
        elif fault == "text" and number == 2:
            sys.stdout.write("Loading the model\n")
        elif fault == "proba":
            answer = {"id": question["id"], "proba": {"positive": 0.9, "negative": 0.1}}
        elif fault == "numbers":
            answer = {"id": question["id"], "proba": [0.5, 0.9]}
        elif fault == "confident":
            answer["confidence"] = 0.75
        elif fault == "once" and not log.with_name("failed").exists():
            log.with_name("failed").touch()
            sys.exit("judge: try later")
        elif fault == "chatty":
            answer["label"] = f"I would say {answer['label']}."
        elif fault == "silent":
            answer["label"] = None if number else "positive"
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
