"""What Presidio and detect-secrets find in texts; runs in an environment of its own, without any model.

Usage: python privacy_peers.py TEXTS OUT: a JSON list of texts to a list of ``[kind, start, end, peer]`` per text.
"""

import json
import sys
from pathlib import Path
from typing import Any

from detect_secrets.core.scan import scan_line
from detect_secrets.settings import default_settings
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NlpEngineProvider

KINDS = {
    "EMAIL_ADDRESS": "email",
    "CREDIT_CARD": "card",
    "IP_ADDRESS": "ip",
    "PHONE_NUMBER": "phone",
    "IBAN_CODE": "iban",
}


def main(texts: str, out: str) -> None:
    nlp = {"nlp_engine_name": "no_op", "models": [{"lang_code": "en", "model_name": "no_op"}]}
    analyzer = AnalyzerEngine(nlp_engine=NlpEngineProvider(nlp_configuration=nlp).create_engine())
    found: list[list[Any]] = []
    with default_settings():
        for text in json.loads(Path(texts).read_text()):
            results = analyzer.analyze(text, language="en", entities=list(KINDS))
            spans: list[Any] = [[KINDS[r.entity_type], r.start, r.end, "presidio"] for r in results]
            start = 0
            for line in text.splitlines(keepends=True):
                for secret in scan_line(line):
                    value = secret.secret_value or ""
                    at = line.find(value) if value else -1
                    kind = "ip" if secret.type == "Public IP (ipv4)" else "key"
                    if at >= 0:
                        spans.append([kind, start + at, start + at + len(value), "detect-secrets"])
                start += len(line)
            found.append(spans)
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
