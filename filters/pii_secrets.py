"""Recognizers of credentials: user and password in URLs, API keys, tokens, passwords and private keys.

Presidio has none. Keys with a vendor's prefix are taken anywhere; other values only where the text says what they are
(`password = '…'`, `Authorization: Bearer …`) and only if they look drawn at random: in source code most such
assignments hold a call, a type or a placeholder.
"""

# ruff: noqa: E501 (tables of patterns)

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from functools import cache

import re2

from filters.pii_fold import fold, folded
from filters.pii_recognizer import SpanRecognizer


class UrlCredentials(SpanRecognizer):
    """The `user:password` of a URL and secret parameters of a query; the host stays."""

    kind = "URL_CREDENTIALS"

    def spans(self, window: str, language: str) -> Iterator[tuple[int, int]]:
        for match in _USERINFO.finditer(window) if "://" in window else ():
            user, _, password = match[1].partition(":")
            if not password or _PLACEHOLDER.fullmatch(password) or (user + password).isdecimal():
                continue
            # `smb://användare:lösenord@server`: words at a host without a domain are a manual's, in any language.
            if (
                password.isalpha()
                and password in (password.lower(), password.upper())
                and _NO_HOST.match(window, match.end())
            ):
                continue
            yield match.span(1)
        for match in _QUERY_SECRET.finditer(window) if "=" in window else ():
            if _random(match[2], 16 if match[1].lower() in _WEAK_PARAMETERS else 8):
                yield match.span(2)


class Secret(SpanRecognizer):
    """API keys and tokens by vendor prefix, labelled secrets and passwords, private keys in PEM."""

    kind = "SECRET"

    def spans(self, window: str, language: str) -> Iterator[tuple[int, int]]:
        yield from _private_keys(window)
        for match in _VENDOR.finditer(window):
            if not _filler(match[0]):
                yield match.span()
        for match in _assignments(window):
            value, strong = match["quoted"] or match["bare"], bool(match["password"])
            if value and _random(value, 6 if strong and match["quoted"] else 8 if strong else 16):
                yield match.span("quoted" if match["quoted"] else "bare")
        for match in _AUTHORIZATION.finditer(window):
            if _is_login(match[2]) if match[1].lower() == "basic" else _random(match[2], 12):
                yield match.span(2)


def secret_anchors() -> str:
    """RE2 expression over folded text that matches where a key starts, or up to the value of a named secret or a login.

    Made of the tables that the recognizers' expressions are made of: a row added there is found by the scan.
    """
    return "|".join((_KEY_START, f"(?i:[?&;](?:{_PARAMETERS})=|(?:{_name_anchors()}){_UP_TO_VALUE}|{_SCHEME})"))


def could_be_secret(raw: bytes, start: int, end: int) -> bool:
    """Whether a match of `secret_anchors` in folded text goes on like a secret: few words do that are called key."""
    if raw[end - 1] in b":= \t\n\r" and (_VALUE.match(raw, end) or _AUTHORIZED.match(raw, start)):
        return True
    return _CERTAIN.match(raw, start) is not None


def secret_end(raw: bytes, end: int) -> int:
    """How far the value may go behind a match of `secret_anchors` in folded text, in letters of any script."""
    return _REST_OF_VALUE.match(raw, end).end()  # type: ignore[union-attr]


def _name_anchors() -> str:
    return "|".join(name.replace("(?<![A-Za-z])", "(?:^|[^A-Za-z])") for name in (*_PASSWORD_NAMES, *_KEY_NAMES))


def _assignments(window: str) -> Iterator[re.Match[str]]:
    """Matches of `_ASSIGNMENT`, tried only where an automaton found one of its names."""
    free = 0
    for name in _names().finditer(fold(window)):
        for start in (name.start(), name.start() + 1):  # a character that no letter may be comes along before `key`
            match = _ASSIGNMENT.match(window, start) if start >= free else None
            if match:
                free = match.end()
                yield match
                break


@cache
def _names() -> re2._Regexp:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    options.case_sensitive = False
    return re2.compile(folded(_name_anchors()), options)


def _private_keys(window: str) -> Iterator[tuple[int, int]]:
    endless = False
    for match in _PEM_BEGIN.finditer(window):
        end = None if endless else _PEM_END.search(window, match.end(), match.end() + 32_768)
        endless = end is None
        # Without an end mark the key still must go: everything that looks like its body.
        body = _PEM_BODY.match(window, match.end())
        stop = end.end() if end else body.end() if body else match.end()
        if stop > match.end() + 40:
            yield match.start(), stop


_USERINFO = re.compile(
    r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{1,24}://([^\s/?#@<>\"':]{0,128}:[^\s/<>\"]{1,256})@(?=[A-Za-z0-9\[À-ɏ])"
)
_NO_HOST = re.compile(r"[\w-]*(?![\w.-])|(?:[\w-]+\.)?example\.", re.IGNORECASE)
_STRONG_PARAMETERS = (
    "access_token", "auth_token", "refresh_token", "id_token", "api_?key", "secret", "client_secret", "password", "passwd", "pwd", "pass",
)  # fmt: skip
_WEAK_PARAMETERS = ("token", "sig", "signature", "auth", "key", "session", "sessionid", "sid")
_PARAMETERS = "|".join(_STRONG_PARAMETERS + _WEAK_PARAMETERS)
_QUERY_SECRET = re.compile(rf"[?&;]({_PARAMETERS})=([^\s&#\"'<>;,)\]]{{8,512}})", re.IGNORECASE)

_PEM_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_PEM_BODY = re.compile(r"(?:\\n|[A-Za-z0-9+/=:,\s])*+")

_VENDOR_KEYS: tuple[tuple[str, str], ...] = (  # how a key starts, without counted repeats, and how it goes on
    (r"A(?:KIA|SIA|BIA|CCA|ROA|IDA)", r"[A-Z0-9]{16}"),  # AWS
    (r"AIza", r"[0-9A-Za-z_-]{35}"),  # Google
    (r"ya29\.", r"[0-9A-Za-z_-]{30,}"),
    (r"GOCSPX-", r"[0-9A-Za-z_-]{28}"),
    (r"gh[pousr]_", r"[0-9A-Za-z]{36,255}"),  # GitHub
    (r"github_pat_", r"[0-9A-Za-z_]{60,255}"),
    (r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|agent)-", r"[0-9A-Za-z_-]{20,}"),  # GitLab
    (r"hf_", r"[A-Za-z0-9]{30,40}"),  # Hugging Face
    (r"xox[abeoprs]-", r"[0-9A-Za-z-]{10,250}"),  # Slack
    (r"xapp-", r"[0-9]-[0-9A-Za-z-]{20,}"),
    (
        r"sk-",
        r"(?:(?:proj|ant|svcacct|admin|or)-[0-9A-Za-z_-]{20,250}|[0-9A-Za-z]{32,64})",
    ),  # OpenAI, Anthropic, OpenRouter
    (r"[srp]k_(?:live|test)_", r"[0-9A-Za-z]{16,247}"),  # Stripe
    (r"whsec_", r"[0-9A-Za-z+/]{24,}"),
    (r"npm_", r"[0-9A-Za-z]{36}"),
    (r"pypi-", r"[0-9A-Za-z_-]{40,}"),
    (r"dckr_pat_", r"[0-9A-Za-z_-]{20,}"),
    (r"do[opr]_v1_", r"[0-9a-f]{64}"),  # DigitalOcean
    (r"shp(?:at|ca|pa|ss)_", r"[0-9a-fA-F]{32}"),  # Shopify
    (r"SG\.", r"[0-9A-Za-z_-]{16,32}\.[0-9A-Za-z_-]{30,64}"),  # SendGrid
    (r"(?:SK|AC)[0-9a-f][0-9a-f][0-9a-f][0-9a-f]", r"[0-9a-f]{28}"),  # Twilio
    (r"key-", r"[0-9a-f]{32}"),  # Mailgun
    (r"sq0[a-z][a-z][a-z]-", r"[0-9A-Za-z_-]{22,43}"),  # Square
    (r"EAA", r"[0-9A-Za-z]{80,}"),  # Facebook
    (r"dapi", r"[0-9a-f]{32}"),  # Databricks
    (r"lin_api_", r"[0-9A-Za-z]{40}"),  # Linear
    (r"NRAK-", r"[0-9A-Z]{27}"),  # New Relic
    (r"PMAK-", r"[0-9a-f]{24}-[0-9a-f]{34}"),  # Postman
    (r"hv[sb]\.", r"[0-9A-Za-z_-]{24,}"),  # Vault
    (r"glsa_", r"[0-9A-Za-z]{32}_[0-9a-f]{8}"),  # Grafana
    (r"rubygems_", r"[0-9a-f]{48}"),
    (r"sntrys_", r"[0-9A-Za-z+/=_-]{40,}"),  # Sentry
    (r"r8_", r"[0-9A-Za-z]{37}"),  # Replicate
    (r"gsk_", r"[0-9A-Za-z]{50,}"),  # Groq
    (r"xai-", r"[0-9A-Za-z]{70,}"),
    (r"tskey-", r"[a-z]+-[0-9A-Za-z-]{20,}"),  # Tailscale
    (r"sbp_", r"[0-9a-f]{40}"),  # Supabase
    (r"AGE-SECRET-KEY-1", r"[0-9A-Z]{58}"),
    (r"eyJ", r"[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{16,}"),  # JSON Web Token
    (r"https://hooks\.slack\.com/(?:services|workflows)/", r"[0-9A-Za-z/_-]{20,}"),
    (r"https://discord(?:app)?\.com/api/webhooks/", r"[0-9]{15,20}/[0-9A-Za-z_-]{40,}"),
)
_MARKED_KEYS: tuple[tuple[str, str], ...] = (  # what marks a key in its middle, and the key
    (r"[0-9]:AA", r"[0-9]{8,10}:AA[0-9A-Za-z_-]{33}"),  # Telegram
    (r"[0-9a-f]-us[0-9]", r"[0-9a-f]{32}-us[0-9]{1,2}"),  # Mailchimp
    (
        r"\.[0-9A-Za-z_-]{6}\.[0-9A-Za-z_-]{8}",
        r"[MNO][0-9A-Za-z_-]{23,25}\.[0-9A-Za-z_-]{6}\.[0-9A-Za-z_-]{27,38}",
    ),  # Discord
)
_KEY_FORMS = "|".join([start + rest for start, rest in _VENDOR_KEYS] + [key for _, key in _MARKED_KEYS])
# A key is neither the tail of a longer name nor the head of one.
_VENDOR = re.compile(f"(?<![A-Za-z0-9_])(?:{_KEY_FORMS})(?![A-Za-z0-9])")

_PASSWORD_NAMES = (
    "pass(?:word|wd|phrase|code)?", "pwd", "passwort", "kennwort", "contraseña", "contrasena", "senha", "mot[ _]de[ _]passe", "mdp",
    "hasło", "haslo", "пароль", "parola", "wachtwoord", "lösenord", "密码", "密碼", "パスワード", "비밀번호", "secret", "api[_ -]?secret",
    "şifre", "parolă", "parool", "heslo", "salasana", "jelszó", "adgangskode", "passord", "geslo", "lozinka", "лозинка", "парола", "contrasenya",
    "contrasinal", "slaptažodis", "lykilorð", "fjalëkalim", "mật khẩu", "kata sandi", "құпиясөз", "κωδικός", "סיסמה", "סיסמא", "كلمة المرور", "كلمة السر",
    "رمز عبور", "گذرواژه", "پاس ورڈ", "पासवर्ड", "পাসওয়ার্ড", "கடவுச்சொல்", "รหัสผ่าน", "口令", "暗証番号", "암호",
)  # fmt: skip
_KEY_NAMES = (
    "token", "api[_ -]?key", "apikey", "access[_ -]?key(?:[_ -]?id)?", "secret[_ -]?key", "private[_ -]?key", "account[_ -]?key",
    "auth[_ -]?key", "credentials?", "(?<![A-Za-z])key",
)  # fmt: skip
# From a name's end to its value.
_COPULA = r"[ \t\n\r](?:is|ist|lautet|est|es|jest|är|er)(?::[ \t]?|[ \t\n\r])"
_IS = rf"""[A-Za-z0-9_]{{0,24}}+["'\]]{{0,2}}[ \t]{{0,3}}(?:=>|:=|==?|:|=|{_COPULA})[ \t]{{0,3}}"""
_ASSIGNMENT = re.compile(
    f"(?:(?P<password>{'|'.join(_PASSWORD_NAMES)})|{'|'.join(_KEY_NAMES)}){_IS}"
    r"""(?:(?P<quote>["'`])(?P<quoted>[^"'`\s]{6,256})(?P=quote)|(?P<bare>[^\s"'`,;<>(){}\[\]|]{8,256}))""",
    re.IGNORECASE,
)
_AUTHORIZATION = re.compile(
    r"(?<![A-Za-z])(Bearer|Basic|Token)[ \t]{1,2}([A-Za-z0-9._~+/-]{12,1024}={0,2})", re.IGNORECASE
)

# The same over folded bytes, for the scan.
_PEM_START = "-----BEGIN [A-Z0-9 ]*PRIVATE KEY"
_SCHEME = r"(?:^|[^a-z])(?:bearer|basic|token)[ \t]"
_KEY_START = "|".join(
    (
        f"(?:^|[^0-9A-Za-z_])(?:{'|'.join(start for start, _ in _VENDOR_KEYS)})",
        *(mark for mark, _ in _MARKED_KEYS),
        _PEM_START,
    )
)
_CERTAIN = re.compile(
    rf"[^0-9A-Za-z_]?(?:{'|'.join(start + rest for start, rest in _VENDOR_KEYS)})|{'|'.join(mark for mark, _ in _MARKED_KEYS)}|"
    rf"{_PEM_START}".encode()
)
_UP_TO_VALUE = rf"""[0-9A-Za-z_]*["'\]]*[ \t]*(?:[:=]|{_COPULA})"""
_REST_OF_VALUE = re.compile(rb"[=>]?[ \t]{0,3}\S{0,520}+")
_VALUE = re.compile(rb"[=>]?[ \t]{0,3}[\"'`]?(?=[^\s]{0,255}?[0-9!@#$%^&*+?~=])[^\s\"'`]{6}")
_AUTHORIZED = re.compile(rb"[^a-z]?(?:bearer|basic|token)[ \t]{1,2}[A-Za-z0-9._~+/-]{12}", re.IGNORECASE)

_PLACEHOLDER = re.compile(
    r"(?:your|my|the|some|insert|enter|change|replace|example|sample|dummy|test|fake|foo|bar|user|password|passwd|pass|pwd|secret|"
    r"token|here|key|api|abc|123|none|null|true|false|redacted|hidden|[xX*.•…#_-])*+[0-9]{0,4}|[{$%<\[].*|.*[}>\]]",
    re.IGNORECASE | re.DOTALL,
)


def _is_login(value: str) -> bool:
    """RFC 7617: base64 of `user:password`."""
    try:
        return b":" in base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except binascii.Error:
        return False


def _filler(value: str) -> bool:
    """`xxxx…`, `AKIAIOSFODNN7EXAMPLE`, `sk-0000…`: shown in documentation, gives access to nothing."""
    lower = value.lower()
    return "example" in lower or "xxxxxx" in lower or "placeholder" in lower or len(set(value)) < 8


def _random(value: str, shortest: int) -> bool:
    """Whether a labelled value looks drawn at random rather than written by a programmer."""
    value = value.rstrip(".,:")
    if len(value) < shortest or (_filler(value) and len(value) >= 12) or _PLACEHOLDER.fullmatch(value):
        return False
    letters = any(character.isalpha() for character in value)
    digits = any(character.isdecimal() for character in value)
    signs = any(character in "!@#$%^&*+?~=" for character in value)
    mixed = any(character.islower() for character in value) and any(character.isupper() for character in value[1:])
    if not letters or not (digits or (signs and mixed)) or len(set(value)) < 5:
        return False
    # Paths, attribute chains, file names, constants: `settings.PASSWORD_1`, `./key2.pem`, `tpm2-public.pem`.
    return _WRITTEN.fullmatch(value) is None


# One way to read each part, or else a value of many parts would take exponential time.
_PART = r"(?>(?:(?:[a-z_]+|[A-Z_]+)[0-9]{0,2}|[A-Za-z_][a-z]+(?:[A-Z][a-z]+)*|[0-9]{1,4})(?=[-./:]|\Z))"
_WRITTEN = re.compile(rf"[./~$@]*{_PART}(?:[-./:]{_PART})*+")
