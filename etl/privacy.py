"""Personal data and secrets become typed placeholders, in Spark SQL expressions, before passages are cut.

Patterns find what has a form: addresses, numbers, keys. Names of persons have none and stay. No pattern uses ``\\b``, which
changed its mind about letters beyond ASCII in Java 19; ``\\w`` is ASCII in every Java.
"""

import functools

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.config import PrivacyConfig
from etl.tlds import PRIVATE, TOP_LEVEL_DOMAINS

PLACEHOLDERS = {
    "key": "<KEY>",
    "email": "<EMAIL>",
    "iban": "<IBAN>",
    "card": "<CARD>",
    "ip": "<IP>",
    "phone": "<PHONE>",
}

# A private key in PEM or OpenPGP's armour, whatever stands between its lines (quotation marks, `\n`, `> `, headers), as
# long as there is a line of key in it or it is short: a text about how such files begin and end is none.
_BEGIN, _FINISH = (rf"-----{word} [A-Z0-9 ]{{0,30}}PRIVATE KEY(?: BLOCK)?-----" for word in ("BEGIN", "END"))
_BASE64 = "A-Za-z0-9+/"
_BETWEEN = r"""(?:[\s>"'+,]|\\[nrt])"""
_BODY = r"[^-]*+(?:-(?!----)[^-]*+){0,1000}+"  # up to the next five hyphens, however far: looked at once
PEM = (
    rf"{_BEGIN}(?:(?=[\s\S]{{0,600}}?[{_BASE64}]{{40}}){_BODY}{_FINISH}|[^-]{{0,300}}{_FINISH}"
    rf"|(?:{_BETWEEN}{{0,20}}[{_BASE64}=]{{40,}}+)++(?:{_BETWEEN}{{1,20}}[{_BASE64}]{{1,76}}={{1,2}})?)"
)
PUTTY = (
    rf"PuTTY-User-Key-File-\d:[^:]{{1,100}}(?::[^:]{{1,4000}}){{1,12}}?Private-Lines: \d{{1,4}}\s+"
    rf"(?:(?!Private)[{_BASE64}=]{{4,}}+\s{{0,4}}+)++(?:Private-MAC: [0-9a-fA-F]{{40,64}})?"
)
# Forms that their issuers publish, each from its first characters on.
TOKENS = (
    r"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}",  # AWS
    r"gh[pousr]_[A-Za-z0-9]{36,255}",  # GitHub
    r"github_pat_\w{22,255}",
    r"gl(?:pat|dt|rt|ptt|cbt|soat|ft|imt|agent|oas)-[\w-]{20,255}",  # GitLab
    r"xox[abeoprs]-[A-Za-z0-9-]{10,250}",  # Slack
    r"xapp-\d-[A-Za-z0-9-]{20,250}",
    r"AIza[\w-]{35}",  # Google
    r"GOCSPX-[\w-]{28}",
    r"ya29\.[\w-]{20,1000}",
    # OpenAI and its like: capitals and digits tell such a key from a name with hyphens.
    r"sk-(?=[\w-]{0,100}?\d)(?=[\w-]{0,100}?[A-Z])[\w-]{20,255}",
    r"sk-(?:or-v1-)?[0-9a-f]{32,64}",
    r"hf_[A-Za-z0-9]{30,40}",  # Hugging Face
    r"[rs]k_(?:live|test|prod)_[A-Za-z0-9]{10,255}",  # Stripe
    r"whsec_[A-Za-z0-9+/]{32,100}={0,2}",
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-AgE[\w-]{50,500}",
    r"dckr_pat_[\w-]{27}",
    r"do[opr]_v1_[0-9a-f]{64}",  # DigitalOcean
    r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",  # Shopify
    r"glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}",  # Grafana
    r"SG\.[\w-]{16,32}\.[\w-]{16,64}",  # SendGrid
    r"hvs\.[\w-]{24,200}",  # Vault
    r"dapi[0-9a-f]{32}(?:-\d)?",  # Databricks
    r"SK[0-9a-f]{32}",  # Twilio
    r"\d{8,10}:AA[\w-]{33}",  # Telegram
    r"[MNO][\w-]{23,25}\.[\w-]{6}\.[\w-]{27,38}",  # Discord
    r"[0-9a-f]{32}-us\d{1,2}",  # Mailchimp
    r"key-[0-9a-f]{32}",  # Mailgun
    r"sq0(?:atp|csp|idp)-[\w-]{22,43}",  # Square
    r"ATATT3[\w=-]{40,300}",  # Atlassian
    r"(?:lin_api|ntn|nfp|sbp|gsk|r8|rubygems|pscale_tkn|sntrys)_[A-Za-z0-9_=]{30,255}",  # Linear, Notion, Groq, ...
    r"(?:NRAK|PMAK|HRKU)-[A-Za-z0-9-]{27,80}",  # New Relic, Postman, Heroku
    r"dp\.(?:pt|st|ct)\.[\w.-]{30,80}",  # Doppler
    r"AGE-SECRET-KEY-1[0-9A-Z]{58}",
    r"eyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]{10,1000}",  # JSON web token
    r"LS0tLS1CRUdJTiB(?:QUklWQVRF|SU0EgUFJJVkFUR|FQyBQUklWQVRF|PUEVOU1NIIFBSSVZBVE)[A-Za-z0-9+/]{40,20000}={0,2}",  # PEM
)
# Secrets that are recognised only by what stands before them.
NAMED = (
    r"(?<=[\s:=\"'])(?<=(?i:aws_secret_access_key)[\"']{0,1}\s{0,2}[:=]\s{0,2}[\"']{0,1})[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])",
    r"(?<==)(?<=AccountKey=)[A-Za-z0-9+/]{86}==",  # Azure
    r"(?<==)(?<=[?&;]sig=)[A-Za-z0-9%/+]{40,100}(?:%3[dD]|={1,2})?",
    r"(?<=/)(?<=hooks\.slack\.com/(?:services|workflows|triggers)/)[\w/]{20,200}",  # the path is the secret
    r"(?<=/)(?<=discord(?:app)?\.com/api/webhooks/)\d{17,20}/[\w-]{60,80}",
    r"(?<=t)(?<=/bot)\d{8,10}:AA[\w-]{33}",  # Telegram, in the address of its interface
    r"(?<==)(?<=:_authToken=)[\w+/=-]{20,255}",  # npm
    r"(?<=[\s:])(?<=(?i:authorization)[\"']{0,1}\s{0,2}[:=]\s{0,2}[\"']{0,1}(?i:basic|bearer|token)\s)[\w+/.~=-]{20,500}",
    r"(?<=:)(?<=[a-z]://[\w.%-]{0,64}:)[^\s/@:<>]{3,128}(?=@[\w\[])",  # a password in a URI
)

# Letters of words that stand in addresses: Latin, Greek and Cyrillic with their accents. Scripts without blanks, in whose
# sentences an address stands without any, are not among them.
_LETTERS = "A-Za-z\\u00c0-\\u00d6\\u00d8-\\u00f6\\u00f8-\\u024f\\u0370-\\u0373\\u0386-\\u03ff\\u0400-\\u052f"
_ADDRESS = rf"{_LETTERS}0-9_.%+-"
_LABEL = rf"[{_LETTERS}0-9](?:[{_LETTERS}0-9-]{{0,61}}[{_LETTERS}0-9])?"
EMAIL = (
    rf"(?<![{_ADDRESS}])([.%+-]*+)(?!(?i:git|hg|svn)@)[{_LETTERS}0-9_]['{_ADDRESS}]{{0,63}}+@(?:{_LABEL}\.){{1,8}}"
    rf"(?:xn--[A-Za-z0-9-]{{2,59}}|(?i:{'|'.join([*TOP_LEVEL_DOMAINS.split(), *PRIVATE.split()])})"
    rf"|(?![A-Za-z])[{_LETTERS}]{{2,24}})(?![{_LETTERS}0-9_-])"
)

_BLANK, _HYPHEN = " \\u00a0\\u2007\\u2009\\u202f", "\\u2010-\\u2013-"  # no-break ones too
_GAP = f"[{_BLANK}{_HYPHEN}]"
# Country, length and form of the registry (ISO 13616); groups of four or none.
IBAN = (
    rf"(?<![\w{_HYPHEN}])(?i:"
    + "|".join(
        rf"(?:{countries})\d\d(?:{_GAP}?[A-Z0-9]){{{length - 4}}}"
        for length, countries in {
            15: "NO", 16: "BE", 18: "DK|FI|FO|GL|NL|SD", 19: "MK|SI", 20: "AT|BA|EE|KZ|LT|LU|MN|XK", 21: "CH|HR|LI|LV",
            22: "BG|BH|CR|DE|GB|GE|IE|ME|RS|VA", 23: "AE|GI|IL|IQ|OM|SO|TL", 24: "AD|CZ|ES|MD|PK|RO|SA|SE|SK|TN|VG",
            25: "LY|PT|ST", 26: "IS|TR", 27: "FR|GR|IT|MC|MR|SM", 28: "AL|AZ|BY|CY|DO|GT|HN|HU|LB|NI|PL",
            29: "BR|EG|PS|QA|UA", 30: "JO|KW|MU|YE", 31: "MT|SC", 32: "LC",
        }.items()
    )
    + r")(?![A-Za-z0-9_])"
)  # fmt: skip
# Lengths and first digits that issuers use (ISO/IEC 7812): others have numbers that pass Luhn's check one time in ten.
_ISSUED = (
    r"(?:4(?:\d{18}|D{15})|5[1-5]D{14}|2(?:22[1-9]|2[3-9]D|[3-6]DD|7[01]D|720)D{12}|3[47]D{13}"
    r"|(?:6011|64[4-9]D|65DD)D{12}|3(?:0[0-5]|[689]D)D{11}|35(?:2[89]|[3-8]D)D{12}|(?:2131|1800)D{11}|62(?:\d{17}|D{14})"
    r"|220[0-4]D{12}|(?:50(?:18|20|38)|5893|6304|67(?:59|6[1-3])|0604)(?:\d{15}|D{12}|D{8}))"
)
# In one piece, in groups of four, or as American Express and Diners Club write it: not by thousands.
_GROUPED = rf"(?=\d{{12}}|\d{{4}}{_GAP}(?:\d{{4}}{_GAP}\d{{4}}{_GAP}|\d{{6}}{_GAP}\d))"
CARD = (
    rf"(?<![\w.+{_HYPHEN}])(?<!\d{{3}}{_GAP}){_GROUPED}{_ISSUED.replace('D', rf'(?:{_GAP}?[0-9])')}"
    rf"(?!{_GAP}?\d{{4}}|\d)(?![\w-]|\.\d)"
)

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_V4 = rf"(?:{_OCTET}\.){{3}}{_OCTET}"
# Numbers of four parts that are none: versions and sections, by the word or sign before them.
_NUMBERED = (
    r"(?i:versions?\w{0,8}|(?<![a-z])(?:ver|vers|release|rev|revision|build|firmware|driver|sections?|sect?|chapter|clause|table|figure|rule"
    r"|article|paragraph|appendix|upgraded? to|updated? to|windows|java|jdk|chrome|firefox|android|ios|framework))"
)
_NO_VERSION = (
    rf"(?<!{_NUMBERED}[.:\s\"'=(>\[]{{0,6}})(?<![=<>~!^]= {{0,1}})(?<![~^][> ]{{0,2}})(?<![A-Za-z]/)(?<!§ {{0,1}})"
)
# This host, no host, masks, and what looks like a version: `1.0.0.0`.
_NO_HOST = r"(?!127\.|0\.0\.0\.0(?!\d)|255\.|[1-9]\.0\.0\.\d{1,3}(?!\d))"
_GROUP = "[0-9a-fA-F]{1,4}"
# Compressed, with a group of three or four digits: slices (`[1::2]`) and names (`a::b`) have none.
_LONG_GROUP = r"(?=[0-9a-fA-F:]{0,36}?(?<![0-9a-fA-F])(?=[a-fA-F]{0,3}\d)[0-9a-fA-F]{3,4}(?![0-9a-fA-F]))"
IP = (
    rf"(?<![\w.-])(?=\d){_NO_HOST}{_NO_VERSION}{_V4}(?![\w]|\.\d|-[A-Za-z])"
    rf"|(?<![\w:.])(?:(?:{_GROUP}:){{7}}{_GROUP}|{_LONG_GROUP}(?:{_GROUP}:){{1,7}}:(?:{_GROUP}(?::{_GROUP}){{0,6}})?"
    rf"|::(?:ffff:)?{_V4})(?:%[A-Za-z0-9]{{1,15}})?(?![\w:]|\.\d)"
)

_BREAK = f"[{_BLANK}.{_HYPHEN}]"
# Country codes of ITU-T E.164. +1 and +7 have ten digits after them, the others seven to twelve: `+12 500 000` is an amount.
_CODES = (
    r"(?:2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|21[1-368]|2[2-46]\d|25[0-8]|29[0179]|35\d|37[0-8]|38[0-35-79]|42[013]"
    r"|50\d|59\d|67\d|68\d|69[0-2]|8[05]0|808|85[2356]|87[08]|88[0-368]|96[0-8]|97[0-79]|99[2-68])"
)
_AREA = rf"(?:\(\d{{1,4}}\){_BREAK}?)?"
_ABROAD = (
    rf"(?:[17]{_BREAK}?(?:\([2-9]\d\d\){_BREAK}?\d(?:{_BREAK}?\d){{6}}|[2-9](?:{_BREAK}?\d){{9}})"
    rf"|{_CODES}{_BREAK}?{_AREA}\d(?:{_BREAK}?\d){{6,11}}+)"
)
_DECIMAL = (
    r"(?!\+\d{1,3}\.\d{1,8}(?![\d. -]\d|\d))"  # degrees: WHOIS writes a telephone number in this form, with more digits
)
_AMOUNT = rf"[{_BLANK}]?(?:[€$£¥%]|(?i:euros?|dollars?|eur|usd|gbp|pounds?|people|million|inhabitants))"
# Local numbers look like any other; the words beside them tell.
_SAID = (
    r"(?:(?i:(?:tele)?phones?|tel|mobile|mob|cell|fax|whatsapp)[\s:.#)]{0,6}(?:(?i:numbers?|no|nr|is)[\s:.#]{1,3})?"
    r"(?:(?i:is|at)[\s:.#]{1,3})?"
    r"|(?i:desk|office|home|work): {0,2}|(?i:call|dial|ring|text|reach)(?i: me| us| him| her| them)?(?i: on| at)? "
    r"|(?i:answering at|messages to|registered) )"
)
_PLACE = r"(?i:office|fax|mobile|mobi|cell|home|work|desk)"
_LOCAL = rf"(?:\(\d{{1,5}}\){_BREAK}?)?\d(?:{_BREAK}?\d){{4,11}}+"
PHONE = (
    rf"(?<![\w+.{_HYPHEN}]){_DECIMAL}(?:(?:\+|(?<!\d[{_BLANK}{_HYPHEN}])00(?=[1-9]\d{{0,2}}{_BREAK})){_ABROAD}(?!{_AMOUNT})"
    rf"|(?:1{_BREAK})?(?:\([2-9]\d\d\){_BREAK}?[2-9]\d\d{_BREAK}|[2-9]\d\d[.{_HYPHEN}][2-9]\d\d[.{_HYPHEN}])\d{{4}}"
    rf"|(?=[(\d](?:[{_BLANK}.{_HYPHEN}()]{{0,2}}\d){{6}})(?!(?:19|20)\d\d-\d\d-\d\d)(?:(?<={_SAID}){_LOCAL}|{_LOCAL}(?=[ -]{_PLACE}))"
    rf")(?: ?(?:x|ext\.?) ?\d{{1,6}})?(?!\w|-\d|\.\d)"
)

# Java's syntax; possessive, so that a long run of one kind of character is looked at once from each of its starts.
PATTERNS = {
    "key": rf"{PEM}|{PUTTY}|(?<![A-Za-z0-9_])(?:{'|'.join(TOKENS)})(?![\w-])|{'|'.join(NAMED)}",
    "email": EMAIL,
    "iban": IBAN,
    "card": CARD,
    "ip": IP,
    "phone": PHONE,
}
# A text with a match has one of these too. They are found several times as fast, and most texts have none; each begins
# with characters listed one by one, which Java looks up in a table of bits.
# Java tries a lookbehind at each length that one of its alternatives may have: all of these have three characters, and
# look at more only where those are found.
KEY_HINT = (
    r"[AJzK_.0:/=-](?<=[KSBC][IC]A|eyJ|AIz|LS0|h[pousr]_(?<=gh._)|at_(?<=_pat_|shpat_)|(?:ca|pa|ss)_(?<=shp.._)|hf_|[rs]k_"
    r"|ec_(?<=whsec_)|pm_(?<=npm_)|v1_(?<=do[opr]_v1_)|sa_(?<=glsa_)|[wW][sS]_(?=[sS])|29\.(?<=ya29\.)|SG\.|vs\.(?<=hvs\.)"
    r"|(?:[abdfmnrt]t|as)-(?<=gl[a-z]{2,5}-)|x[abeoprs]-(?<=xox.-)|pp-(?<=xapp-)|PX-(?<=GOCSPX-)|sk-(?<![A-Za-z0-9]sk-)|pi-(?<=pypi-)"
    r"|EY-(?<=RET-KEY-)|---(?=BEGIN )|le-(?<=Key-File-)|\d\d:(?=AA[\w-]{33})|\w\w\.(?=[\w-]{6}\.[\w-]{27})|[0-9a-f]{2}-(?=us\d)"
    r"|ey-(?=[0-9a-f]{32})|sq0|ATA(?=TT3)|pi_(?<=lin_api_)|[ntfbs][npk]_|.r8_|ms_(?<=gems_)|ys_(?<=ntrys_)|(?:RA|MA|RK)(?:K|U)-"
    r"|[psc]t\.(?<=dp\..t\.)|ig=(?<=[?&;]sig=)|es/(?<=vices/)|ws/(?<=flows/)|rs/(?<=ggers/)|ks/(?<=hooks/)|en=(?<=Token=))"
    r"|K(?<=SK)(?=[0-9a-f]{32})"
)
URI_HINT = r"://[\w.%-]{0,64}:[^\s/@:<>]{3,128}@"
NUMBERS = ("iban", "card", "ip", "phone")
NUMBER_HINT = (
    rf"[0123456789.:+)-](?:(?<=\d)(?:[{_BLANK}.{_HYPHEN}()]{{0,2}}\d){{6}}|(?<=[A-Za-z]{{2}}\d)\d(?:{_GAP}?[A-Za-z0-9]){{11}}|(?<=[0-9a-fA-F][.:])[0-9a-fA-F]{{1,4}}[.:][0-9a-fA-F]"
    rf"|(?<=[0-9a-fA-F]:):|(?<=\+)[1-9]|(?<=\(\d{{3}}\))|(?<=(?<!\d)0)0[1-9]|(?<=\d{{3}}[.{_HYPHEN}]\d)\d{{3}})"
)


def kinds_of(config: PrivacyConfig) -> list[str]:
    """The kinds to replace, in the order of replacement."""
    return [kind for kind in PATTERNS if kind in config.replace]


def passes_luhn(number: Column) -> Column:
    """Whether a string's digits pass the check of ISO/IEC 7812-1 (Luhn 1954)."""
    digits = F.split(F.reverse(F.regexp_replace(number, r"\D", "")), "")
    values = F.transform(
        F.filter(digits, lambda d: d != ""),
        lambda d, i: F.when(i % 2 == 0, d.cast("int")).otherwise(d.cast("int") * 2 - F.when(d >= "5", 9).otherwise(0)),
    )
    return F.aggregate(values, F.lit(0), lambda total, v: total + v) % 10 == 0


def redacted(text: Column, kind: str) -> Column:
    """The text with the matches of one kind as its placeholder."""
    pattern = PATTERNS[kind]
    if kind == "card":
        # Pieces and matches in turn: replacing each match over the whole text is quadratic (8,000 of them took minutes).
        pieces = F.split(text, pattern)
        cards = F.transform(
            F.regexp_extract_all(text, F.lit(f"({pattern})"), F.lit(1)),
            lambda card: F.when(passes_luhn(card), F.lit(PLACEHOLDERS["card"])).otherwise(card),
        )
        joined = F.zip_with(pieces, cards, lambda piece, card: F.concat(piece, F.coalesce(card, F.lit(""))))
        return F.array_join(joined, "")
    kept = "$1" if kind == "email" else ""  # punctuation in front of an address
    return F.regexp_replace(text, pattern, kept + PLACEHOLDERS[kind])


def redact(documents: DataFrame, config: PrivacyConfig) -> DataFrame:
    """Replace the configured kinds in ``text``, in the order of ``PATTERNS``; one column per step, so that none is computed twice.

    Adds ``_made_<kind>``, placeholders that were put in, and ``_personal``, characters that the text lost by it.
    """
    text, hint, before = F.col("text"), F.col("_hint"), F.col("_before")
    kinds = kinds_of(config)
    words = (F.contains(text, F.lit(word)) for word in ("AccountKey=", "dapi", "uthorization"))
    named = functools.reduce(Column.__or__, words) | (F.contains(text, F.lit("://")) & F.rlike(text, F.lit(URI_HINT)))
    hints = {"key": F.rlike(text, F.lit(KEY_HINT)) | named, "email": F.contains(text, F.lit("@"))}
    if first := next((kind for kind in kinds if kind in NUMBERS), None):  # its hint holds for the others too
        hints[first] = F.rlike(text, F.lit(NUMBER_HINT))
    documents = documents.withColumn("_raw", text)
    for kind in kinds:
        if kind in hints:
            documents = documents.withColumn("_hint", hints[kind])
        documents = documents.withColumns({"_before": text, "text": F.when(hint, redacted(text, kind)).otherwise(text)})
        made = F.when(hint, _count(text, kind) - _count(before, kind))
        documents = documents.withColumn(f"_made_{kind}", F.coalesce(made, F.lit(0)))
    lost = F.when(F.col("_raw") == text, 0).otherwise(F.length("_raw") - F.length(text))
    return documents.withColumn("_personal", lost).drop("_hint", "_before", "_raw")


def _count(text: Column, kind: str) -> Column:
    mark = PLACEHOLDERS[kind]
    return F.when(F.contains(text, F.lit(mark)), F.regexp_count(text, F.lit(mark))).otherwise(0)
