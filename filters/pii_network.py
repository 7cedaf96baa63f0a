"""Recognizers of IP and MAC addresses.

Presidio's `IpRecognizer` and `MacAddressRecognizer` decide what is a valid address. What is ours: ASCII boundaries, and
the policy on addresses that identify nobody: private, shared and documentation networks, groups of devices, and the
versions, sections and products that look like four octets.
"""

# ruff: noqa: E501 (word lists)

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterator
from functools import cache

import re2
from presidio_analyzer.predefined_recognizers import IpRecognizer, MacAddressRecognizer

from filters.pii_recognizer import SpanRecognizer


class Ip(SpanRecognizer):
    """Globally routable IPv4 and IPv6 addresses; private, documentation, multicast ranges and versions stay."""

    kind = "IP_ADDRESS"

    def spans(self, window: str, language: str) -> Iterator[tuple[int, int]]:
        for match in _QUAD.finditer(window):
            start, end = match.span()
            # `62.138.9.1-62.138.9.254` is a range of two; a version of a version is neither.
            dashed = window[start - 1 : start] == "-" and window[max(0, start - 2) : start - 1].isdecimal()
            if dashed and not _QUAD_BEFORE.search(window, max(0, start - 18), start):
                continue
            if _public(match[0]) and not _is_version(window, start, end, match[0]):
                yield start, end
        for match in _COLONS.finditer(window) if window.count(":") > 1 else ():
            text = match[0]
            if text.count(":") < 2 or len(text) > 60:
                continue
            if text.endswith(":") and not text.endswith("::"):
                text = text[:-1]
            text = text.rstrip(".")
            # Only 2000::/3 is assigned for global use; everything else here is C++ (`dead::beef`) or link-local.
            if text[:1] not in "23" or text.find(":") != 4 or not _public(text):
                continue
            if not _GROUP_BEFORE.search(window[max(0, match.start() - 12) : match.start()]):
                yield match.start(), match.start() + len(text)


class Mac(SpanRecognizer):
    """Hardware addresses with colons, dashes or dots; bare hexadecimal only after a label."""

    kind = "MAC_ADDRESS"

    def spans(self, window: str, language: str) -> Iterator[tuple[int, int]]:
        for match in _MAC.finditer(window):
            text = match[0]
            labelled = _MAC_LABEL.search(window, max(0, match.start() - 24), match.start()) is not None
            if len(text) == 12 and not labelled:
                continue
            if not labelled and _digits_only(text):
                continue
            # The lowest bit of the first byte marks groups of devices (IEEE 802), and manuals have their own.
            hexadecimal = re.sub("[^0-9a-f]", "", text.lower())
            if int(hexadecimal[1], 16) & 1 or hexadecimal in _MANUAL_MACS:
                continue
            if not _mac().invalidate_result(text):
                yield match.span()


@cache
def _ip() -> IpRecognizer:
    return IpRecognizer()


@cache
def _mac() -> MacAddressRecognizer:
    return MacAddressRecognizer()


# --- IP ---------------------------------------------------------------------------------------------------------

_QUAD = re.compile(
    r"(?<![0-9A-Za-z_])(?<![A-Za-z_]-)(?<!\.)[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9A-Za-z_]|\.[0-9]|-[A-Za-z]|-[0-9]{1,3}(?![0-9.]))",
)
_QUAD_BEFORE = re.compile(r"(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3} ?-\Z")
_COLONS = re.compile(r"(?<![0-9A-Za-z_])[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:.]{1,60}+(?![0-9A-Za-z_])")
_GROUP_BEFORE = re.compile(r"(?<![0-9A-Za-z_])(?:[0-9A-Fa-f]{0,4}|[0-9]+)[:.]\Z")
_VERSION_BEFORE = (
    r"(?:(?:^|[^\pL\pN])(?:v|ver|vers|version|versión|versione|versão|versie|wersja|verze|versiune|sürüm|έκδοση|verzió|versio|phiên bản|"
    r"версия|версії|версія|версии|версию|버전|バージョン|版本|verzija|верзија|الإصدار|إصدار|نسخه|संस्करण|"
    r"build|release|rel|rev|revision|firmware|kernel|update|patch|section|sec|sect|sect|chapter|chap|ch|article|art|"
    r"clause|para|paragraph|abschnitt|absatz|abs|kapitel|kap|cap|capítulo|capitolo|chapitre|rozdz|rozdział|kapittel|hoofdstuk|bölüm|madde|čl|sez|sezione|sección|secção|seção|гл|ст|разд|ziffer|punkt|раздел|пункт|глава|статья|oid|item|table|figure|fig|step|appendix|annex)"
    r"s?\.?\s?[:#]?\s{0,2}|§\s?|[=~^<>]=\s?|[A-Za-z0-9]/|第)$"
)
# Software whose version stands right behind its name, whatever the four numbers are.
_PRODUCT_BEFORE = (
    r"(?:^|[^A-Za-z])(?:nginx|apache2?|httpd|lighttpd|caddy|traefik|haproxy|tomcat|jetty|iis|chrom(?:e|ium)|headlesschrome|firefox|safari|opera|"
    r"edge|edg|opr|vivaldi|brave|yandex ?browser|yabrowser|ucbrowser|samsungbrowser|trident|gecko|webkit|applewebkit|msie|internet explorer|thunderbird|"
    r"outlook|office|word|excel|powerpoint|teams|skype|zoom|slack|whatsapp|telegram|signal|viber|windows|android|ios|ipados|macos|mac os x?|"
    r"linux|ubuntu|debian|fedora|centos|rhel|php|python|perl|ruby|node(?:\.?js)?|java|jdk|jre|openjdk|\.net|dotnet|framework|mono|mysql|"
    r"mariadb|postgres(?:ql)?|sqlite|oracle|mongodb|redis|elasticsearch|kibana|kafka|docker|kubernetes|openssl|openssh|curl|wget|git|svn|"
    r"subversion|cmake|gcc|clang|llvm|msvc|visual studio(?: code)?|flash|flash player|acrobat|reader|adobe|photoshop|illustrator|directx|vulkan|"
    r"nvidia|geforce|radeon|cuda|drivers?|treiber|pilote|bios|uefi|plug-?in|add-?on|extension|wordpress|drupal|joomla!?|typo3|magento|prestashop|"
    r"sdk|api|app|library|lib|module|package|paket|jquery|bootstrap|sap|hana|sharepoint|(?:sql|exchange|windows|web) server|vmware|esxi?|vcenter|"
    r"virtualbox|citrix|teamviewer|anydesk|steam|unity|unreal|itunes|quicktime|vlc|winrar|7-?zip|winzip|notepad\+\+|eclipse|intellij|xcode|"
    r"jenkins|jira|confluence|software|edition|service pack|assembly|nuget|npm|wine|qt|gtk|kde|gnome|installer|setup)"
    r"[ /_-]{1,2}$"
)
# `Server 12.4.1.2`: a product of that name, not the machine in a sentence.
_TITLE_BEFORE = re.compile(r"(?<![A-Za-z])(?:Server|Client|Agent|Host|Proxy|Gateway|Router|Player|Manager) \Z")
_IP_WORDS = (
    r"(?:get|post|head) /|(?:^|[^A-Za-z])(?:ip(?:v4|s)?|hosts?|hostname|addr(?:ess(?:es)?)?|adresse?n?|adres[su]?|indirizzo|dirección|direccion|endereço|pings?|pinging|ttl|icmp|dns|"
    r"(?:name|web|mail|proxy|dns|db|api)?servers?|serveur|servidor|serwer|gateway|router|client|from|https?|ssh|ftp|smtp|whois|traceroute|"
    r"(?:ns)?lookup|received|subnet|netmask|peer|proxy|login|ports?|bind|listen(?:ing)?|connect(?:ed|ing|ion)?|gw[0-9]?|resolver|nameserver)(?:$|[^A-Za-z])|"
    r"адрес|хост|сервер|шлюз|узел|айпи|地址|位址|网关|網關|服务器|伺服器|路由|主机|主機|网络|訪問|访问|连接|連線|アドレス|サーバ|ホスト|接続|アクセス|ルータ|ゲートウェイ|"
    r"주소|서버|호스트|게이트웨이|라우터|접속|아이피|عنوان|خادم|الخادم|خوادم|سرور|آدرس|پتہ|पता|सर्वर|आईपी|ที่อยู่|เซิร์ฟเวอร์|ไอพี|โฮสต์|διεύθυνση|διακομιστ|כתובת|שרת|सर्भर|সার্ভার|ঠিকানা|முகவரி|సర్వర్|máy chủ|địa chỉ"
)
# Going from one to the next, with a number on each side, is an upgrade.
_UPGRADE = re.compile(
    r"(?:upgrad|updat|migrat|moved|changes? (?:from|between|since)|diff|aktualis|обнов)[^\n]*\Z", re.IGNORECASE
)


_LETTER = re.compile(r"[^0-9 .,:;()/-]")
_NO_WORD = ("", *"0123456789,;()[]|<>\"'*-")
_PORT_OR_PREFIX = re.compile(r":[0-9]{2,5}(?![0-9])|/[0-9]{1,2}(?![0-9])")


def _public(text: str) -> bool:
    """Presidio's validity and the registries' global scope; what lies outside every special range needs neither."""
    octets = text.split(".")
    if len(octets) == 4 and octets[0] not in _SPECIAL_OCTETS and all(octet in _OCTETS for octet in octets):
        return True
    if (
        len(octets) == 1 and text[:1] == "2" and text.find(":") == 4 and text[:5] not in ("2001:", "2002:")
    ):  # of 2000::/3, without 3fff::/20
        try:
            socket.inet_pton(socket.AF_INET6, text)
        except OSError:
            return False
        return True
    if _ip().invalidate_result(text):
        return False
    address = ipaddress.ip_address(text)
    return address.is_global and not address.is_multicast and not address.is_reserved


_OCTETS = frozenset(map(str, range(256)))
# First octets within which some range is private, shared, documentation, multicast or reserved (RFC 6890).
_SPECIAL_OCTETS = frozenset(map(str, (0, 10, 100, 127, 169, 172, 192, 198, 203, *range(224, 256))))


def _is_version(window: str, start: int, end: int, text: str) -> bool:
    before = window[max(0, start - 24) : start]
    ending = before.rstrip(" \t\n.:#/_-")[-1:]
    # A digit, a comma, a bracket: no word that could announce a version.
    worded = ending not in _NO_WORD or (before[-1:] == "/" and ending.isalnum())
    if worded and _announces_version(before.encode("utf-8", "replace"), _PORT_OR_PREFIX.match(window, end) is None):
        return not before.endswith("//")
    if any(len(part) == 3 or part > "63" for part in text.split(".") if len(part) > 1):
        return False
    # Four small numbers are a section or a version unless something around speaks of networks.
    if before.endswith("//") or _PORT_OR_PREFIX.match(window, end):
        return False
    line_before = window[max(0, start - 40) : start].rpartition("\n")[2]
    line_after = window[end : end + 24].partition("\n")[0]
    if _LETTER.search(line_before):
        if _UPGRADE.search(line_before):
            return True
        if _TITLE_BEFORE.search(line_before):
            line_before = line_before.rstrip().rpartition(" ")[0]
        if _ip_words().search(line_before.encode("utf-8", "replace")):
            return False
    return not (_LETTER.search(line_after) and _ip_words().search(line_after.encode("utf-8", "replace")))


def _announces_version(before: bytes, bare: bool) -> bool:
    return _version_before().search(before) is not None or (bare and _product_before().search(before) is not None)


# By automaton: a hundred alternatives before each of thousands of quads cost `re` 30 us, these one.
@cache
def _version_before() -> re2._Regexp:
    return _automaton(_VERSION_BEFORE)


@cache
def _product_before() -> re2._Regexp:
    return _automaton(_PRODUCT_BEFORE)


@cache
def _ip_words() -> re2._Regexp:
    return _automaton(_IP_WORDS)


def _automaton(expression: str) -> re2._Regexp:
    options = re2.Options()
    options.never_capture = True
    options.case_sensitive = False
    return re2.compile(expression.encode(), options)


# --- MAC --------------------------------------------------------------------------------------------------------

_MAC = re.compile(
    r"(?<![0-9A-Za-z])(?:(?<![0-9A-Za-z][:.-])|(?<=[Mm][Aa][Cc]:)|(?<=[Rr]:))(?:[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}"
    r"|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}|[0-9A-Fa-f]{12})(?![0-9A-Za-z]|[:-][0-9A-Fa-f]|\.[0-9A-Fa-f]{4})"
)


_MANUAL_MACS = frozenset(
    {"aabbccddeeff", "001122334455", "020001020304", "1234567890ab", "123456789abc", "0a0b0c0d0e0f"}
)


def _digits_only(text: str) -> bool:
    """Digits alone are a time, a date, a draw or a part number, unless two pairs exceed what those reach."""
    pairs = re.findall("[0-9]{2}", text)
    return len(pairs) == 6 and (text.count(".") > 0 or sum(pair > "60" for pair in pairs) < 2)


_MAC_LABELS = "mac|hw ?addr|hwaddr|ether|bssid|wlan|ethernet|physical address|hardware address"
_MAC_LABEL = re.compile(rf"(?<![A-Za-z])(?:{_MAC_LABELS})[^0-9\n]{{0,14}}\Z", re.IGNORECASE)


def hexadecimal_anchors() -> str:
    """RE2 expression over folded text: three parts of a MAC address, a bare one, or the first colons of a public IPv6."""
    return (
        "[0-9A-Fa-f][0-9A-Fa-f][:-][0-9A-Fa-f][0-9A-Fa-f][:-][0-9A-Fa-f][0-9A-Fa-f][:-]|"
        r"[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}|[0-9A-Fa-f]{12}|[23][0-9A-Fa-f]{3}:[0-9A-Fa-f]{0,4}:"
    )


def hexadecimal_gate() -> str:
    """The same in context, without case: a bare address needs one of its labels."""
    return (
        r"[0-9a-f]{2}[:-][0-9a-f]{2}[:-][0-9a-f]{2}[:-]|[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}|[23][0-9a-f]{3}:[0-9a-f]{0,4}:|"
        rf"(?:^|[^a-z])(?:{_MAC_LABELS})[^0-9\n]{{0,14}}[0-9a-f]{{12}}"
    )
