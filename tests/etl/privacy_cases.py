"""What is personal and what only looks like it: texts, each with the wanted outcome. No secret here is real.

Tokens are put together from parts, so that scanners of repositories do not take them for leaks. Kinds of forms were taken
from the rules of gitleaks, detect-secrets, Presidio and scrubadub, and from public reports; texts are our own.
"""

B64 = "MIIEpAIBAAKCAQEA3Tz2mr7SZiAMfQyuvBjM9OiZ1BjP5CE0WmPqVdDYQZ8bB0TR"  # 64 characters, a line of PEM
LINES = [B64, B64[::-1], B64[:30] + "=="]
BEGIN, END = (f"-----{word} RSA PRIVATE KEY-----" for word in ("BEGIN", "END"))
GIT, SLACK, STRIPE, HF, LAB = "gh" + "p_", "xo" + "xb-", "s" + "k_live_", "h" + "f_", "gl" + "pat-"
ALNUM = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"  # 36 characters
HEX = "0123456789abcdef0123456789abcdef"
NBSP, NARROW = "\u00a0", "\u202f"

KEYS = [
    ("key AKIAIOSFODNN7EXAMPLE!", "key <KEY>!"),
    ("AKIAIOSFODNN7EXAMPLEX is longer than a key", "AKIAIOSFODNN7EXAMPLEX is longer than a key"),
    ("\u5bc6\u94a5AKIAIOSFODNN7EXAMPLE\u3002", "\u5bc6\u94a5<KEY>\u3002"),
    ("ASIAIOSFODNN7EXAMPLE", "<KEY>"),
    ("AKIA and ASIA begin keys", "AKIA and ASIA begin keys"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\nend", "<KEY>\nend"),
    (f"a {BEGIN}\n" + "\n".join(LINES) + f"\n{END} b", "a <KEY> b"),
    (f'"key": "{BEGIN}\\n' + "\\n".join(LINES) + f'\\n{END}\\n"', '"key": "<KEY>\\n"'),
    (f"{BEGIN}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,{HEX}\n\n" + "\n".join(LINES) + f"\n{END}", "<KEY>"),
    (f"> {BEGIN}\n> " + "\n> ".join(LINES) + f"\n> {END}\nsaid he", "> <KEY>\nsaid he"),
    (f'k = "{BEGIN}\\n" +\n  "' + '\\n" +\n  "'.join(LINES) + f'\\n" +\n  "{END}";', 'k = "<KEY>";'),
    (f"k = ('{BEGIN}\\n'\n '" + "\\n'\n '".join(LINES) + f"\\n'\n '{END}')", "k = ('<KEY>')"),
    (f"{BEGIN} " + " ".join(LINES) + f" {END}", "<KEY>"),
    (f"{BEGIN}\r\n" + "\r\n".join(LINES) + f"\r\n{END}", "<KEY>"),
    (
        f"cut short: {BEGIN}\n" + "\n".join(LINES[:2]) + "\nand the text goes on",
        "cut short: <KEY>\nand the text goes on",
    ),
    (f"cut short: {BEGIN}\\n" + "\\n".join(LINES[:2]) + '" is said', 'cut short: <KEY>" is said'),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\n" + "\n".join(LINES) + "\n-----END OPENSSH PRIVATE KEY-----", "<KEY>"),
    ("-----BEGIN PRIVATE KEY-----\n" + "\n".join(LINES) + "\n-----END PRIVATE KEY-----", "<KEY>"),
    (
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2\n\n"
        + "\n".join(LINES)
        + "\n=abcd\n-----END PGP PRIVATE KEY BLOCK-----",
        "<KEY>",
    ),
    ("-----BEGIN EC PRIVATE KEY-----\n" + LINES[0] + "\n-----END EC PRIVATE KEY-----", "<KEY>"),
    (
        f"It begins with {BEGIN}. After it come lines of 64 characters; the last line, as the standard has it, is the end.",
        f"It begins with {BEGIN}. After it come lines of 64 characters; the last line, as the standard has it, is the end.",
    ),
    ("-----BEGIN PUBLIC KEY-----\n" + LINES[0], "-----BEGIN PUBLIC KEY-----\n" + LINES[0]),
    ("-----BEGIN CERTIFICATE-----\n" + LINES[0], "-----BEGIN CERTIFICATE-----\n" + LINES[0]),
    ("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ is public", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ is public"),
    ("tls.key: LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQ" + B64, "tls.key: <KEY>"),
    ("tls.crt: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUQ", "tls.crt: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUQ"),
    (f"token {GIT}{ALNUM}.", "token <KEY>."),
    (f"{GIT}short", f"{GIT}short"),
    ("gh" + f"o_{ALNUM}", "<KEY>"),
    ("github" + f"_pat_{ALNUM}_{ALNUM}", "<KEY>"),
    (f"{LAB}{ALNUM[:20]}", "<KEY>"),
    (f"GITLAB_TOKEN={LAB}x-{ALNUM[:18]}", "GITLAB_TOKEN=<KEY>"),
    ("gl" + f"rt-{ALNUM[:20]}", "<KEY>"),
    ("glpat-name", "glpat-name"),
    (f"{SLACK}123456789012-123456789012-{ALNUM[:24]}", "<KEY>"),
    ("xa" + f"pp-1-A0123456789-1234567890123-{ALNUM}", "<KEY>"),
    ("AIza" + ALNUM[:35], "<KEY>"),
    ("GOC" + f"SPX-{ALNUM[:28]}", "<KEY>"),
    ("ya2" + f"9.{ALNUM}", "<KEY>"),
    ("OPENAI_API_KEY=s" + f"k-{ALNUM}", "OPENAI_API_KEY=<KEY>"),
    ("s" + f"k-proj-{ALNUM}_{ALNUM}", "<KEY>"),
    ("s" + f"k-ant-api03-{ALNUM}-{ALNUM}AA", "<KEY>"),
    ("s" + f"k-or-v1-{HEX}{HEX}", "<KEY>"),
    ("s" + f"k-{HEX}", "<KEY>"),
    ("class sk-css-class-name-of-a-button", "class sk-css-class-name-of-a-button"),
    ("sk-fading-circle12-with-many-parts", "sk-fading-circle12-with-many-parts"),
    ("sk-learn and sk-image", "sk-learn and sk-image"),
    ("task-list-item-with-a-long-name-1A", "task-list-item-with-a-long-name-1A"),
    (f"{HF}{ALNUM[:34]}", "<KEY>"),
    ("hf_transformers_model_name_of_many_parts", "hf_transformers_model_name_of_many_parts"),
    (f"{STRIPE}{ALNUM[:24]}", "<KEY>"),
    ("r" + f"k_test_{ALNUM[:24]}", "<KEY>"),
    ("risk_live_abcdefghijkl", "risk_live_abcdefghijkl"),
    ("p" + f"k_live_{ALNUM[:24]}", "p" + f"k_live_{ALNUM[:24]}"),  # a publishable key is public
    ("wh" + f"sec_{ALNUM}", "<KEY>"),
    ("np" + f"m_{ALNUM}", "<KEY>"),
    ("pyp" + f"i-AgEIcHlwaS5vcmc{ALNUM}{ALNUM}", "<KEY>"),
    ("dck" + f"r_pat_{ALNUM[:27]}", "<KEY>"),
    ("do" + f"p_v1_{HEX}{HEX}", "<KEY>"),
    ("shp" + f"at_{HEX}", "<KEY>"),
    ("S" + f"G.{ALNUM[:22]}.{ALNUM}{ALNUM[:7]}", "<KEY>"),
    ("SG.first.second", "SG.first.second"),
    ("hv" + f"s.{ALNUM}", "<KEY>"),
    ("ey" + "JhbGciOiJIUzI1NiJ9.ey" + f"JzdWIiOiIxMjM0NTY3ODkwIn0.{ALNUM}", "<KEY>"),
    ("eyJ is how such a token begins", "eyJ is how such a token begins"),
    (f"aws_secret_access_key = {ALNUM}/+ab", "aws_secret_access_key = <KEY>"),
    (f'AWS_SECRET_ACCESS_KEY="{ALNUM}/+ab"', 'AWS_SECRET_ACCESS_KEY="<KEY>"'),
    (f"sha1 {HEX}01234567", f"sha1 {HEX}01234567"),
    (f"AccountName=x;AccountKey={ALNUM}{ALNUM}{ALNUM[:14]}==;", "AccountName=x;AccountKey=<KEY>;"),
    ("postgres://app:s3cret@db.example.com/x", "postgres://app:<KEY>@db.example.com/x"),
    ("redis://:hunter22@10.0.0.5:6379", "redis://:<KEY>@<IP>:6379"),
    ("https://example.com:8080/@user", "https://example.com:8080/@user"),
    ("already <KEY> there", "already <KEY> there"),
]
EMAILS = [
    ("Write to Jane.Doe+x@mail.example.co.uk, please.", "Write to <EMAIL>, please."),
    ("a@b is no address, nor @user or me@", "a@b is no address, nor @user or me@"),
    ("\u8054\u7cfbjane@example.com\u8c22\u8c22", "\u8054\u7cfb<EMAIL>\u8c22\u8c22"),
    ("\u30e1\u30fc\u30eb\u306fjane.doe@example.co.jp\u307e\u3067", "\u30e1\u30fc\u30eb\u306f<EMAIL>\u307e\u3067"),
    (
        "\u0e2d\u0e35\u0e40\u0e21\u0e25jane@example.com\u0e04\u0e48\u0e30",
        "\u0e2d\u0e35\u0e40\u0e21\u0e25<EMAIL>\u0e04\u0e48\u0e30",
    ),
    ("m\u00fcller@example.de", "<EMAIL>"),
    ("j\u00f6rg.m\u00fcller@b\u00fccher.example", "<EMAIL>"),
    ("an \u00e9lodie@example.fr.", "an <EMAIL>."),
    ("\u0438\u0432\u0430\u043d@\u043f\u043e\u0447\u0442\u0430.\u0440\u0444", "<EMAIL>"),
    ("user@xn--bcher-kva.xn--p1ai", "<EMAIL>"),
    ("_jane@example.com", "<EMAIL>"),
    ("__init__@example.com", "<EMAIL>"),
    ("'jane@example.com'", "'<EMAIL>'"),
    ("o'brien@example.ie", "<EMAIL>"),
    ("<jane@example.com>", "<<EMAIL>>"),
    ("mailto:jane@example.com?subject=x", "mailto:<EMAIL>?subject=x"),
    ("(jane@example.com)", "(<EMAIL>)"),
    ("jane@example.com,john@example.com;jim@example.org", "<EMAIL>,<EMAIL>;<EMAIL>"),
    ("...jane@example.com", "...<EMAIL>"),
    ("- jane@example.com\n-john@example.com", "- <EMAIL>\n-<EMAIL>"),
    ("JANE@EXAMPLE.COM", "<EMAIL>"),
    ("jane%home@example.com", "<EMAIL>"),
    ("1234567@qq.com", "<EMAIL>"),
    ("jane@mail.sub.example.museum", "<EMAIL>"),
    ("jane@example.com.", "<EMAIL>."),
    ("@scope/package@1.2.3", "@scope/package@1.2.3"),
    ("react@18.2.0", "react@18.2.0"),
    ("user@localhost", "user@localhost"),
    ("a @ b.com", "a @ b.com"),
    ("@decorator.method", "@decorator.method"),
    ("write to <EMAIL> again", "write to <EMAIL> again"),
]
PHONES = [
    ("Call +1 212-555-0123 or (212) 555-0123 or +49 30 901820.", "Call <PHONE> or <PHONE> or <PHONE>."),
    ("(212) 555 0123", "<PHONE>"),
    ("(212)555-0123", "<PHONE>"),
    (f"(212){NBSP}555{NBSP}0123", "<PHONE>"),
    ("212-555-0123", "<PHONE>"),
    ("212.555.0123", "<PHONE>"),
    ("212\u2011555\u20110123", "<PHONE>"),
    ("212\u2013555\u20130123", "<PHONE>"),
    ("1-800-555-0199", "<PHONE>"),
    ("1 (800) 555-0199", "<PHONE>"),
    ("+12125550123", "<PHONE>"),
    ("tel:+12125550123", "tel:<PHONE>"),
    (f"+49{NBSP}30{NBSP}901820", "<PHONE>"),
    (f"+33{NARROW}1{NARROW}23{NARROW}45{NARROW}67{NARROW}89", "<PHONE>"),
    ("+44 (0)20 7946 0958", "<PHONE>"),
    ("+44 20 7946 0958,", "<PHONE>,"),
    ("0049 30 901820", "<PHONE>"),
    ("\u7535\u8bdd+86 138 0013 8000\u3002", "\u7535\u8bdd<PHONE>\u3002"),
    ("+1.212.555.0123", "<PHONE>"),
    ("from 1590 to 1613, 11,162 lines, 2026-11-24", "from 1590 to 1613, 11,162 lines, 2026-11-24"),
    ("2026-11-26T12:00:00+01:00", "2026-11-26T12:00:00+01:00"),
    ("+0200 and +1000 and +3.14159265", "+0200 and +1000 and +3.14159265"),
    ("ISBN 978-0-306-40615-7", "ISBN 978-0-306-40615-7"),
    ("ISBN 0-306-40615-2", "ISBN 0-306-40615-2"),
    ("pages 123-456-7890", "pages 123-456-7890"),
    ("x+12345678901", "x+12345678901"),
    ("part 212-555-0123-9", "part 212-555-0123-9"),
    ("0.212.555.0123", "0.212.555.0123"),
    ("id 0012345678", "id 0012345678"),
    ("<PHONE> and <PHONE>", "<PHONE> and <PHONE>"),
]
ADDRESSES = [
    ("host 192.168.0.1 and 2001:0db8:0000:0000:0000:ff00:0042:8329.", "host <IP> and <IP>."),
    ("http://10.0.0.1:8080/x", "http://<IP>:8080/x"),
    ("10.0.0.0/8", "<IP>/8"),
    ("[10.0.0.1]", "[<IP>]"),
    ("\u5730\u5740\u662f192.168.0.1\u3002", "\u5730\u5740\u662f<IP>\u3002"),
    ("ip=203.0.113.7;", "ip=<IP>;"),
    ("root@203.0.113.7", "root@<IP>"),
    ("2001:db8::1", "<IP>"),
    ("fe80::1ff:fe23:4567:890a", "<IP>"),
    ("fe80::1%eth0", "<IP>"),
    ("[2001:db8::8a2e:370:7334]:443", "[<IP>]:443"),
    ("::ffff:192.0.2.128", "<IP>"),
    ("2001:db8::/32", "<IP>/32"),
    ("2001:DB8:0:0:8:800:200C:417A", "<IP>"),
    ("\u5730\u5740fe80::1\u3002", "\u5730\u5740<IP>\u3002"),
    ("version 1.2.3 and 1.2.3.4.5 and 300.1.1.1", "version 1.2.3 and 1.2.3.4.5 and 300.1.1.1"),
    ("version 1.2.3.4", "version 1.2.3.4"),
    ("Version: 4.0.30.1", "Version: 4.0.30.1"),
    ("v1.2.3.4", "v1.2.3.4"),
    ("release 2.4.1.0, build 10.0.1.7", "release 2.4.1.0, build 10.0.1.7"),
    ("numpy==1.2.3.4", "numpy==1.2.3.4"),
    ("foo >= 1.2.3.4", "foo >= 1.2.3.4"),
    ("gem 'x', '~> 1.2.3.4'", "gem 'x', '~> 1.2.3.4'"),
    ("Chrome/96.0.46.110", "Chrome/96.0.46.110"),
    ("foo-1.2.3.4.tar.gz", "foo-1.2.3.4.tar.gz"),
    ("1.2.3.4-beta", "1.2.3.4-beta"),
    ("section 3.1.2.4 of it", "section 3.1.2.4 of it"),
    ("see \u00a7 3.1.2.4", "see \u00a7 3.1.2.4"),
    ("std::vector and a::b and abc::def", "std::vector and a::b and abc::def"),
    ("x[::2] and x[1::2] and x[::-1]", "x[::2] and x[1::2] and x[::-1]"),
    ("at 12:30:45 and 1:02:03:04", "at 12:30:45 and 1:02:03:04"),
    ("mac 00:1a:2b:3c:4d:5e", "mac 00:1a:2b:3c:4d:5e"),
    ("oid 1.3.6.1.4.1.311", "oid 1.3.6.1.4.1.311"),
    ("<IP>", "<IP>"),
]
CARDS = [
    ("Card 4111 1111 1111 1111, 5500-0000-0000-0004.", "Card <CARD>, <CARD>."),
    ("4111111111111111", "<CARD>"),
    (f"4111{NBSP}1111{NBSP}1111{NBSP}1111", "<CARD>"),
    ("4111\u20111111\u20111111\u20111111", "<CARD>"),
    ("378282246310005", "<CARD>"),
    ("3782 822463 10005", "<CARD>"),
    ("6011111111111117", "<CARD>"),
    ("3530111333300000", "<CARD>"),
    ("30569309025904", "<CARD>"),
    ("2223003122003222", "<CARD>"),
    ("6200000000000005", "<CARD>"),
    ("\u5361\u53f74111111111111111\u3002", "\u5361\u53f7<CARD>\u3002"),
    ("4111 1111 1111 1111 5 times", "<CARD> 5 times"),
    ("Order 4111 1111 1111 1112 fails the check", "Order 4111 1111 1111 1112 fails the check"),
    ("ISBN 9780306406157", "ISBN 9780306406157"),  # passes Luhn's check? it does not matter: no issuer has 978
    ("ISBN 978-3-16-148410-0", "ISBN 978-3-16-148410-0"),
    ("9783540678656 and 9791234567896", "9783540678656 and 9791234567896"),
    ("at 1700000000006 ms", "at 1700000000006 ms"),
    ("at 1700000000000008 us", "at 1700000000000008 us"),
    ("EAN 4006381333931", "EAN 4006381333931"),
    ("IMEI 490154203237518", "IMEI 490154203237518"),
    ("0.4111111111111111", "0.4111111111111111"),
    ("years 4001 4002 4003 4004 4005 4006", "years 4001 4002 4003 4004 4005 4006"),
    ("x4111111111111111", "x4111111111111111"),
    ("79927398713 is Luhn's example", "79927398713 is Luhn's example"),
    ("<CARD>", "<CARD>"),
]
LONG = "\n".join([B64] * 400)  # 26,000 characters
PGP, PGP_END = (f"-----{word} PGP PRIVATE KEY BLOCK-----" for word in ("BEGIN", "END"))
PUTTY = (
    "PuTTY-User-Key-File-2: ssh-rsa\nEncryption: none\nComment: rsa-key-2026\nPublic-Lines: 2\n" + "\n".join(LINES[:2])
    + "\nPrivate-Lines: 2\n" + "\n".join(LINES[:2]) + f"\nPrivate-MAC: {HEX}01234567"
)  # fmt: skip
HOOK = "https://hooks.sla" + "ck.com/services/"
MORE_KEYS = [
    (f"{PGP}\n\n{LONG}\n=abcd\n{PGP_END} end", "<KEY> end"),
    (f"{BEGIN}\n{LONG}\n{END}\n{BEGIN}\n{LONG}\n{END}", "<KEY>\n<KEY>"),
    (PUTTY, "<KEY>"),
    (f"my key:\n{PUTTY}\nkeep it safe", "my key:\n<KEY>\nkeep it safe"),
    ("PuTTY-User-Key-File-2: is how such a file begins", "PuTTY-User-Key-File-2: is how such a file begins"),
    ("dap" + f"i{HEX}", "<KEY>"),
    ("token = dap" + f"i{HEX}-2;", "token = <KEY>;"),
    ("dapi0123 is too short", "dapi0123 is too short"),
    (f"{HOOK}T00000000/B00000000/{ALNUM[:24]}", f"{HOOK}<KEY>"),
    (f"curl -X POST {HOOK}T0A1B2C3D/B0A1B2C3D/{ALNUM[:24]} -d x", f"curl -X POST {HOOK}<KEY> -d x"),
    ("see https://hooks.slack.com/services/ for more", "see https://hooks.slack.com/services/ for more"),
    ("https://discord.com/api/webhooks/123456789012345678/" + ALNUM * 2, "https://discord.com/api/webhooks/<KEY>"),
    ("bot 123456789:A" + f"A{ALNUM[:33]}", "bot <KEY>"),
    (
        "https://api.telegram.org/bot110201543:A" + f"AHdqTcvCH1vGWJxfSeofSAs0K5PALDsa{ALNUM[:2]}/getMe",
        "https://api.telegram.org/bot<KEY>/getMe",
    ),
    ("ratio 12345678:AA and more", "ratio 12345678:AA and more"),
    ("S" + f"K{HEX}", "<KEY>"),
    ("SKU 12345 and SK12", "SKU 12345 and SK12"),
    (
        "https://x.blob.core.windows.net/c/b?sv=2022-11-02&se=2026-01-01&sr=b&sp=r&sig=abcDEF123%2Babcdefghijklmnopqrstuvwxyz0123456%3D",
        "https://x.blob.core.windows.net/c/b?sv=2022-11-02&se=2026-01-01&sr=b&sp=r&sig=<KEY>",
    ),
    ("SharedAccessSignature=sv=2022&sig=" + ALNUM + "abcdefg%3D", "SharedAccessSignature=sv=2022&sig=<KEY>"),
    ("f(x)=2&sig=0.5", "f(x)=2&sig=0.5"),
    ("M" + f"TIzNDU2Nzg5MDEyMzQ1Njc4.GabcDE.{ALNUM}ab", "<KEY>"),
    (f"{HEX}-us12", "<KEY>"),
    ("k" + f"ey-{HEX}", "<KEY>"),
    ("key-value and key-0123", "key-value and key-0123"),
    ("sq" + f"0csp-{ALNUM}abcdefg", "<KEY>"),
    ("AT" + f"ATT3xFfGF0{ALNUM}{ALNUM}", "<KEY>"),
    ("gs" + f"k_{ALNUM}{ALNUM[:16]}", "<KEY>"),
    ("li" + f"n_api_{ALNUM}abcd", "<KEY>"),
    ("nt" + f"n_{ALNUM}{ALNUM[:10]}", "<KEY>"),
    ("rub" + f"ygems_{HEX}{HEX[:16]}", "<KEY>"),
    ("NR" + "AK-ABCDEFGHIJKLMNOPQRSTUVWXYZ1", "<KEY>"),
    ("PM" + f"AK-{HEX[:24]}-{HEX}01", "<KEY>"),
    ("dp" + f".pt.{ALNUM}abcd", "<KEY>"),
    ("//registry.npmjs.org/:_auth" + f"Token={ALNUM}", "//registry.npmjs.org/:_authToken=<KEY>"),
    ("gl" + f"cbt-{ALNUM[:24]}", "<KEY>"),
    (f"commit {HEX}01234567 and {HEX}", f"commit {HEX}01234567 and {HEX}"),
    ("uuid 123e4567-e89b-12d3-a456-426614174000", "uuid 123e4567-e89b-12d3-a456-426614174000"),
    ("sha256:" + HEX + HEX, "sha256:" + HEX + HEX),
    ("integrity sha512-" + B64 + B64[:24] + "==", "integrity sha512-" + B64 + B64[:24] + "=="),
    ("data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA" + B64, "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA" + B64),
    ("risk_test and desk_live", "risk_test and desk_live"),
    ("https://example.com/services/T0/B0/x", "https://example.com/services/T0/B0/x"),
]
MORE_EMAILS = [
    (text, text)
    for text in (
        "logo@2x.png", "icon@3x.webp and hero@1.5x.jpg", "getty@tty1.service", "user@1000.service", "systemd-fsck@dev-sda1.service",
        "git@github.com:org/repo.git", "git clone git@gitlab.com:org/repo.git", "ssh://git@bitbucket.org/org/repo",
        "hg@hg.example.com/repo", "svn@svn.example.org", "x@self.weight", "y = x@model.layers.weight + b", "q@k.transpose(1, 2)",
        "A@B.T", "a@b.inverse()", "@pytest.fixture", "@app.route", "actions/checkout@v4", "lodash@4.17.21", "vue@next.config",
        "mount@var-lib.mount", "name@sha256.digest", "template@file.jinja2", "foo@bar.baz", "wg-quick@wg0.conf",
        "@media.screen", "user@host.localnet", "sprite@4x.svg", "%h@%p.socket", "x@y.z", "1@2.3",
    )
]  # fmt: skip
MORE_EMAILS += [
    ("jane@example.technology", "<EMAIL>"),
    ("jane@example.io, joe@example.ai", "<EMAIL>, <EMAIL>"),
    ("root@server.internal", "<EMAIL>"),
    ("jane@example.com:22", "<EMAIL>:22"),
    ("gitta@example.com", "<EMAIL>"),
    ("my.git@example.com", "<EMAIL>"),
    ("jane@EXAMPLE.Org", "<EMAIL>"),
    ("jane@example.photography", "<EMAIL>"),
    ("jane@4x4.co.za", "<EMAIL>"),
    ("jane@example.\u4e2d\u56fd", "jane@example.\u4e2d\u56fd"),  # letters of scripts without blanks end an address
]
MORE_PHONES = [
    (text, text)
    for text in (
        "+40.689247, -74.044502", "+40.6892474", "lat +51.5007292 lon -0.1246254", "+139.691711", "+12 500 000 euros",
        "+33 500 000", "+49 1 500 000 EUR", "+1 000 000", "+25 000 000 people", "+1.4142135623730951", "+44 100", "+2 345 678 901",
        "a gain of +15 000 000 $", "+10 123 456 789", "room 7943 2027 Prospect", "Meet me at 7943 2027 Prospect",
        "from 1999-2001 and 2010-2024", "2026-11-24 10:15:30", "tel aviv 1948 1967", "phone 12 Pro 2021", "call 911",
        "mobile 2024-05-06", "office 365", "page 1234567890", "1 234 567 890", "12,345,678", "ISSN 0378-5955", "0028 1234 units",
        "port 00 80 90", "1000 2000 3000", "DE89 3704", "SSN 054-28-6917", "phone version 4.5.6", "x = [212, 555, 123]",
    )
]  # fmt: skip
MORE_PHONES += [
    (f"{before}{number}{after}", f"{before}<PHONE>{after}")
    for before, number, after in (
        ("", "+1 (212) 555-0123", ""), ("", "+1-212-555-0123 x4587", ""), ("", "345-899-3560x4587", ""), ("", "+34 600 123 456", ""),
        ("", "+351 912 345 678", ""), ("", "+420 601 123 456", ","), ("", "+48 601 234 567", ""), ("", "+61 412 345 678", ""),
        ("", "+91 98765 43210", ""), ("", "+55 11 91234-5678", ""), ("", "+81 3-1234-5678", ""), ("", "+7 495 123-45-67", ""),
        ("", "+41 44 668 18 00", ""), ("", "+46 (0)8 928 571 38", " fax"), ("", "+86 10 1234 5678", ""), ("", "+972 3-123-4567", ""),
        ("", "+254 712 345678", ""), ("", "+65 6123 4567", ""), ("", "+353 1 234 5678", ""), ("", "0033 1 23 45 67 89", ""),
        ("Phone: ", "060-56-85-91", ""), ("Tel. ", "030 901820", ""), ("fax no. ", "0490 75 40 81", ""), ("Mobile: ", "0412 345 678", ""),
        ("phone number is ", "07700 063 966", ""), ("call me on ", "450 0840", "?"), ("Desk: ", "467 3395", ""),
        ("", "416 60 039", " office"), ("WhatsApp: ", "078 123 45 67", ""), ("", "655 437 108", "-Fax"),
    )
]  # fmt: skip
MORE_ADDRESSES = [
    (text, text)
    for text in (
        "127.0.0.1", "http://127.0.0.1:8080", "0.0.0.0:80", "255.255.255.0", "::1", "localhost (127.0.1.1)", "1.0.0.0", "2.0.0.1",
        '"version": "1.2.3.4"', "<version>10.1.2.3</version>", "--version 4.3.2.1", "version_number = '9.8.7.6'", "Version=4.0.30.0, Culture=neutral",
        "upgrade to 4.5.6.7", "Windows 10.0.19.45", "JDK 17.0.8.1", "Firefox 3.6.13.2", "FileVersion: 6.1.76.1", "app-1.2.3.4-setup.exe",
        "revision 11.22.33.44", "chapter 12.3.4.5", "release: 10.9.8.7",
    )
]  # fmt: skip
MORE_ADDRESSES += [
    ("ping 8.8.8.8", "ping <IP>"),
    ("from 203.0.113.9 to 198.51.100.7", "from <IP> to <IP>"),
    ("host=10.0.0.1", "host=<IP>"),
    ("server 192.168.1.10:5432", "server <IP>:5432"),
    ("client_ip = |86.121.97.248|", "client_ip = |<IP>|"),
    ("100.0.0.1", "<IP>"),
]
MORE_CARDS = [
    (text, text)
    for text in (
        "1234 4111 1111 1111 1111 5678", "4111 1111 1111 1111 1234", "41111111111111111", "4 111 111 111 111 111", "4,111,111,111,111,111",
        "12344111111111111111", "4111-1111-1111-1111-1111", "4111.1111.1111.1111", "ab4111111111111111", "4111111111111111ff",
        "account 5555 5555 5555 4444 0001", "3.4111111111111111", "tracking 9400 1000 0000 0000 0000 00",
    )
]  # fmt: skip
MORE_CARDS += [
    ("4111 1111 1111 1111 123", "<CARD> 123"),
    ("4111 1111 1111 1111 12/27", "<CARD> 12/27"),
    ("card:5555555555554444,", "card:<CARD>,"),
    ("3782-822463-10005", "<CARD>"),
    ("213131131111111", "213131131111111"),
    ("DE89 3704 0044 0532 0130 00", "<IBAN>"),
    ("DE89370400440532013000.", "<IBAN>."),
    ("IBAN: GB29 NWBK 6016 1331 9268 19, BIC", "IBAN: <IBAN>, BIC"),
    ("gb29nwbk60161331926819", "<IBAN>"),
    ("FR14 2004 1010 0505 0001 3M02 606", "<IBAN>"),
    ("NO9386011117947", "<IBAN>"),
    ("CH93 0076 2011 6238 5295 7", "<IBAN>"),
    ("DE89 3704 is short", "DE89 3704 is short"),
    ("XX89 3704 0044 0532 0130 00", "XX89 3704 0044 0532 0130 00"),
    ("SE35 5000 0000 0549 1000 0003", "<IBAN>"),
    ("part number GB29X12", "part number GB29X12"),
]
MORE = [*MORE_KEYS, *MORE_EMAILS, *MORE_PHONES, *MORE_ADDRESSES, *MORE_CARDS]
CASES = [*KEYS, *EMAILS, *PHONES, *ADDRESSES, *CARDS, *MORE]
