"""The styles of campaign: which source is right depends on what the samples look like.

Each style has two variants. They share what an analyst would call the style, differ in looks, and turn
sources around: what is exact for one explodes for the other.
"""

from threatwalk.emulator import looks
from threatwalk.emulator.campaign import (
    ALIGNED,
    Hub,
    Link,
    Pointer,
    Pulse,
    Role,
    Rule,
    Strangers,
    Style,
)


def _style(
    name: str, weight: float, roles: tuple[Role, ...], rules: tuple[Rule, ...], variant: str = "a"
) -> Style:
    return Style(name, f"{name}-{variant}", weight, roles, rules)


def _both(source: str, one: str, other: str, each: int, known: float) -> tuple[Rule, Rule]:
    return Link(source, one, other, each, known), Link(source, other, one, each, known)


# generated names on fast flux: home lines serve them for hours
_FLUX: tuple[Rule, ...] = (
    Link("dns", "name", "bot", 4, 0.8),
    Pointer("bot", "telekabel.net", 0.7),
    Strangers("virustotal", "bot", "sha256", 40, 0.8),
    Link("virustotal", "name", "bot", 2, 0.5),
    Strangers("shodan", "bot", "ips", 100, 0.7),
    Hub("whois", "name", "ns", 2, 0.9),
    Link("threatcrowd", "name", "bot", 2, 0.3),
)
FLUX = (
    _style(
        "flux",
        1,
        (Role("name", looks.generated("ru", "cc", "su"), 0.6), Role("bot", looks.addresses("home_a"), 0.4)),
        (
            *_FLUX,
            Link("passivetotal", "bot", "name", 8, 0.85),
            Link("passivetotal", "name", "bot", 6, 0.8),
            Pulse(0.1, 0.5),
        ),
    ),
    _style(
        "flux",
        1,
        (Role("name", looks.generated("info", "biz"), 0.6), Role("bot", looks.addresses("home_b"), 0.4)),
        (
            *_FLUX,
            Strangers("passivetotal", "bot", "sites", 60, 0.8),
            Link("passivetotal", "name", "bot", 3, 0.6),
            Pulse(0.8, 0.05),
        ),
        "b",
    ),
)

# look-alike brands behind a delivery network
_LOOKALIKE: tuple[Rule, ...] = (
    Hub("dns", "front+login", "cdn", 2, 0.95),
    Hub("virustotal", "front+page", "cdn", 1, 0.6),
    Link("virustotal", "login", "front", ALIGNED, 0.5),
    Link("virustotal", "front", "login", 2, 0.6),
    Link("virustotal", "page", "front", ALIGNED, 0.8),
    Link("shodan", "front", "login", 2, 0.4),
    Link("otx", "front", "page", 2, 0.4),
    Hub("whois", "front", "ns_cdn", 2, 0.9),
    Hub("threatcrowd", "front", "cdn", 1, 0.3),
    Pulse(0.1, 0.2),
)
LOOKALIKE = (
    _style(
        "lookalike",
        1,
        (
            Role("front", looks.lookalike("com", "net"), 0.65),
            Role("login", looks.under("front", "login", "www", "account"), 0.2),
            Role("page", looks.urls("front", "signin/index.php", "secure/verify.php"), 0.15),
        ),
        (
            *_LOOKALIKE,
            Link("passivetotal", "front", "front", 12, 0.8),
            Link("passivetotal", "login", "front", 8, 0.6),
            Strangers("censys", "front", "cdn", 80, 0.7),
            Strangers("censys", "login", "cdn", 80, 0.7),
        ),
    ),
    _style(
        "lookalike",
        1,
        (
            Role("front", looks.lookalike("shop", "xyz", "online"), 0.65),
            Role("login", looks.under("front", "login", "www", "account"), 0.2),
            Role("page", looks.urls("front", "signin/index.php", "secure/verify.php"), 0.15),
        ),
        (
            *_LOOKALIKE,
            Strangers("passivetotal", "front", "sites", 300, 0.8, same=True),
            Link("censys", "front", "front", 10, 0.8),
            Link("censys", "front", "login", 3, 0.8),
            Link("censys", "login", "front", 8, 0.7),
        ),
        "b",
    ),
)

# hacked small-business sites on shared hosting
_HACKED: tuple[Rule, ...] = (
    Hub("dns", "site", "shared", 1, 0.95),
    Hub("passivetotal", "site", "shared", 1, 0.8),
    Hub("virustotal", "site", "shared", 1, 0.8),
    Strangers("shodan", "site", "subs", 8, 0.6),
    Link("virustotal", "link", "site", ALIGNED, 0.8),
    Hub("virustotal", "link", "shared", 1, 0.6),
    Link("otx", "site", "link", 3, 0.5),
    Hub("whois", "site", "ns", 2, 0.9),
    Link("virustotal", "md5", "sha256", ALIGNED, 0.9),
    Link("virustotal", "sha256", "md5", ALIGNED, 0.9),
)
HACKED = (
    _style(
        "hacked",
        1,
        (
            Role("site", looks.business("de", "co.uk", "it", "pl"), 0.25),
            Role("link", looks.urls("site", "wp-content/plugins/*.php", "wp-includes/js/*.php"), 0.5),
            Role("sha256", looks.sha256, 0.15),
            Role("md5", looks.md5, 0.1),
        ),
        (
            *_HACKED,
            Link("virustotal", "link", "sha256", 1, 0.85),
            Link("virustotal", "sha256", "link", 8, 0.85),
            Link("virustotal", "md5", "link", 8, 0.85),
            Pulse(0.05, 0.6),
        ),
    ),
    _style(
        "hacked",
        1,
        (
            Role("site", looks.business("com.br", "fr", "es", "nl"), 0.25),
            Role("link", looks.urls("site", "images/stories/*.gif", "media/cache/*.jpg"), 0.5),
            Role("sha256", looks.sha256, 0.15),
            Role("md5", looks.md5, 0.1),
        ),
        (
            *_HACKED,
            Strangers("virustotal", "sha256+md5", "busy", 5, 0.8, same=True),
            Strangers("virustotal", "sha256+md5", "urls", 40, 0.7),
            Pulse(0.8, 0.05),
        ),
        "b",
    ),
)

# dynamic DNS on home lines
_DYNAMIC: tuple[Rule, ...] = (
    Link("dns", "dyn", "home", ALIGNED, 0.85),
    Pointer("home", "dsl-line.net", 0.7),
    Hub("whois", "dyn", "ns_dyn", 2, 0.9),
    Strangers("shodan", "home", "ips", 100, 0.6),
    Link("threatcrowd", "dyn", "md5", 2, 0.4),
    Link("threatcrowd", "md5", "dyn", 4, 0.5),
    Link("threatexpert", "md5", "dyn", 3, 0.5),
    Link("virustotal", "md5", "sha256", ALIGNED, 0.9),
    Link("virustotal", "sha256", "md5", ALIGNED, 0.9),
    Link("virustotal", "sha256+md5", "dyn", 4, 0.7),
)
DYNAMIC = (
    _style(
        "dynamic",
        1,
        (
            Role("dyn", looks.dynamic("dyn_a"), 0.5),
            Role("home", looks.addresses("home_b"), 0.3),
            Role("md5", looks.md5, 0.1),
            Role("sha256", looks.sha256, 0.1),
        ),
        (
            *_DYNAMIC,
            Link("virustotal", "dyn", "sha256", 2, 0.7),
            Link("virustotal", "home", "dyn", 5, 0.8),
            Strangers("passivetotal", "dyn", "dyn_a", 150, 0.7),
            Pulse(0.05, 0.5),
        ),
    ),
    _style(
        "dynamic",
        1,
        (
            Role("dyn", looks.dynamic("dyn_b"), 0.5),
            Role("home", looks.addresses("home_c"), 0.3),
            Role("md5", looks.md5, 0.1),
            Role("sha256", looks.sha256, 0.1),
        ),
        (
            *_DYNAMIC,
            *_both("passivetotal", "dyn", "home", 6, 0.85),
            Link("passivetotal", "dyn", "md5", 2, 0.5),
            Strangers("virustotal", "home", "sha256", 50, 0.8),
            Strangers("virustotal", "dyn", "dyn_b", 80, 0.7),
            Pulse(0.1, 0.3),
        ),
        "b",
    ),
)

# hash-only malware
_FILE: tuple[Rule, ...] = (
    Link("virustotal", "md5", "sha256", ALIGNED, 0.9),
    Link("virustotal", "sha256", "md5", ALIGNED, 0.9),
    Link("virustotal", "md5", "sha1", ALIGNED, 0.9),
    Link("virustotal", "sha1", "md5", ALIGNED, 0.9),
    Link("virustotal", "sha256", "sha1", ALIGNED, 0.9),
    Link("virustotal", "sha1", "sha256", ALIGNED, 0.9),
    Link("virustotal", "md5+sha1+sha256", "name", 1, 0.8),
    Strangers("nsrl", "name", "md5", 200, 0.4),
)
_FILE_ROLES = (
    Role("md5", looks.md5, 0.3),
    Role("sha1", looks.sha1, 0.2),
    Role("sha256", looks.sha256, 0.35),
)
DROPPER = (
    _style(
        "dropper",
        1,
        (*_FILE_ROLES, Role("name", looks.files("invoice_*.doc"), 0.15)),
        (
            *_FILE,
            Link("virustotal", "md5+sha1+sha256", "sha256", 6, 0.85),
            Link("threatexpert", "md5", "md5+sha1", 4, 0.5),
            Pulse(0.05, 0.6),
        ),
    ),
    _style(
        "dropper",
        1,
        (*_FILE_ROLES, Role("name", looks.files("@*.exe"), 0.15)),
        (
            *_FILE,
            Strangers("virustotal", "md5+sha1+sha256", "busy", 4, 0.6, same=True),
            Strangers("threatexpert", "md5", "md5", 80, 0.6),
            Pulse(0.8, 0.05),
        ),
        "b",
    ),
)

# bulletproof /24 blocks
_BULLETPROOF: tuple[Rule, ...] = (
    Link("dns", "name", "node", 2, 0.8),
    Strangers("virustotal", "node", "sha256", 60, 0.7),
    Link("virustotal", "name", "node", 2, 0.4),
    Hub("whois", "name", "ns", 2, 0.9),
    Link("threatcrowd", "node", "name", 2, 0.3),
    Pulse(0.1, 0.45),
)
BULLETPROOF = (
    _style(
        "bulletproof",
        1,
        (Role("node", looks.block("block_a"), 0.6), Role("name", looks.short("su", "ru"), 0.4)),
        (
            *_BULLETPROOF,
            Link("shodan", "node", "node", 10, 0.85),
            Strangers("censys", "node", "cdn", 60, 0.7),
            Link("passivetotal", "node", "name", 4, 0.6),
        ),
    ),
    _style(
        "bulletproof",
        1,
        (Role("node", looks.block("block_b"), 0.6), Role("name", looks.short("pw", "in", "cn"), 0.4)),
        (
            *_BULLETPROOF,
            Strangers("shodan", "node", "ips", 120, 0.8),
            *_both("censys", "node", "name", 6, 0.85),
            Strangers("passivetotal", "node", "sink", 60, 0.6),
        ),
        "b",
    ),
)

# control panels on rented servers
_PANEL: tuple[Rule, ...] = (
    Strangers("shodan", "server", "ips", 100, 0.8),
    Pointer("server", "cloudvps.com", 0.7),
    Link("virustotal", "gate", "server", ALIGNED, 0.9),
    Link("otx", "gate", "server", ALIGNED, 0.5),
    Link("virustotal", "md5", "sha256", ALIGNED, 0.9),
    Link("virustotal", "sha256", "md5", ALIGNED, 0.9),
    Strangers("censys", "server", "subs", 2, 0.4),
)
PANEL = (
    _style(
        "panel",
        1,
        (
            Role("server", looks.addresses("cloud_a"), 0.4),
            Role("gate", looks.urls("server", "panel/gate.php", "p/gate.php"), 0.25),
            Role("sha256", looks.sha256, 0.2),
            Role("md5", looks.md5, 0.15),
        ),
        (
            *_PANEL,
            Link("virustotal", "server", "sha256", 4, 0.85),
            Link("virustotal", "sha256+md5", "server", 4, 0.85),
            Link("virustotal", "sha256+md5", "gate", 3, 0.7),
            Pulse(0.05, 0.5),
        ),
    ),
    _style(
        "panel",
        1,
        (
            Role("server", looks.addresses("cloud_b"), 0.4),
            Role("gate", looks.urls("server", "api/v2/submit", "api/v1/beacon"), 0.25),
            Role("sha256", looks.sha256, 0.2),
            Role("md5", looks.md5, 0.15),
        ),
        (
            *_PANEL,
            Strangers("virustotal", "server", "sha256", 60, 0.8),
            Link("virustotal", "sha256+md5", "server", 2, 0.4),
            Pulse(0.8, 0.05),
        ),
        "b",
    ),
)

# kits with their own URL path on throw-away domains
_PATHKIT: tuple[Rule, ...] = (
    Hub("dns", "throw", "park", 1, 0.8),
    Link("virustotal", "kit", "throw", ALIGNED, 0.9),
    Hub("virustotal", "throw+kit", "park", 1, 0.5),
    Hub("whois", "throw", "ns", 2, 0.9),
    Hub("shodan", "throw", "park", 1, 0.5),
    Link("otx", "kit", "throw", ALIGNED, 0.7),
)
PATHKIT = (
    _style(
        "pathkit",
        1,
        (
            Role("throw", looks.pairs("club", "site"), 0.45),
            Role("kit", looks.urls("throw", "track/*/go.php", "promo/*/index.php"), 0.55),
        ),
        (
            *_PATHKIT,
            Link("passivetotal", "throw", "throw", 8, 0.85),
            Link("otx", "throw", "kit", 2, 0.7),
            Pulse(0.05, 0.4),
        ),
    ),
    _style(
        "pathkit",
        1,
        (
            Role("throw", looks.pairs("live", "icu"), 0.45),
            Role("kit", looks.urls("throw", "s/*/check", "r/*/update"), 0.55),
        ),
        (
            *_PATHKIT,
            Strangers("passivetotal", "throw", "park", 150, 0.8),
            Link("otx", "throw", "kit", 2, 0.7),
            Pulse(0.75, 0.05),
        ),
        "b",
    ),
)

# news-like names with name servers of their own
_COVER: tuple[Rule, ...] = (
    Hub("dns", "cover", "sink", 1, 0.6),
    Link("virustotal", "cover", "mail", 2, 0.4),
    Link("virustotal", "doc", "cover", 4, 0.7),
    Link("dns", "cover", "mail", 1, 0.4),
    Pulse(0.1, 0.25),
)
COVER = (
    _style(
        "cover",
        1,
        (
            Role("cover", looks.news("org", "com"), 0.6),
            Role("server", looks.under("cover", "ns1", "ns2"), 0.15),
            Role("mail", looks.under("cover", "mail"), 0.1),
            Role("doc", looks.sha256, 0.15),
        ),
        (
            *_COVER,
            Link("whois", "cover", "server", 2, 0.9),
            Link("passivetotal", "server", "cover", 10, 0.85),
            Link("passivetotal", "cover", "server", 1, 0.5),
            Strangers("censys", "cover", "cdn", 60, 0.6),
            Strangers("virustotal", "cover", "sha256", 40, 0.3),
        ),
    ),
    _style(
        "cover",
        1,
        (
            Role("cover", looks.news("info", "net"), 0.65),
            Role("mail", looks.under("cover", "mail", "webmail"), 0.2),
            Role("doc", looks.sha256, 0.15),
        ),
        (
            *_COVER,
            Hub("whois", "cover", "ns", 2, 0.9),
            Link("censys", "cover", "cover", 8, 0.8),
            *_both("censys", "cover", "mail", 3, 0.7),
            Strangers("passivetotal", "cover", "sites", 250, 0.8, same=True),
        ),
        "b",
    ),
)

# lists of infected home lines
_BOTNET: tuple[Rule, ...] = (
    Pointer("bot", "cablelink.net", 0.8),
    Strangers("virustotal", "bot", "sha256", 40, 0.7),
    Strangers("passivetotal", "bot", "sites", 30, 0.5),
)
BOTNET = (
    _style(
        "botnet",
        0.7,
        (Role("bot", looks.addresses("home_c"), 1.0),),
        (*_BOTNET, Strangers("shodan", "bot", "ips", 100, 0.7), Pulse(0.75, 0.05)),
    ),
    _style(
        "botnet",
        0.7,
        (Role("bot", looks.addresses("home_a"), 1.0),),
        (*_BOTNET, Link("shodan", "bot", "bot", 8, 0.75), Pulse(0.05, 0.6)),
        "b",
    ),
)

# documents that fetch the next stage
_MALDOC: tuple[Rule, ...] = (
    Link("virustotal", "md5", "sha256", ALIGNED, 0.9),
    Link("virustotal", "sha256", "md5", ALIGNED, 0.9),
    Link("virustotal", "md5+sha256", "name", 1, 0.8),
    Link("virustotal", "stage", "host", ALIGNED, 0.8),
    Hub("dns", "host", "shared", 1, 0.7),
    Hub("whois", "host", "ns", 2, 0.9),
    Strangers("nsrl", "name", "md5", 200, 0.4),
    Link("otx", "host", "stage", 2, 0.4),
)
MALDOC = (
    _style(
        "maldoc",
        1,
        (
            Role("md5", looks.md5, 0.2),
            Role("sha256", looks.sha256, 0.2),
            Role("name", looks.files("order-*.xlsm"), 0.1),
            Role("host", looks.business("work", "top"), 0.2),
            Role("stage", looks.urls("host", "dl/*.bin", "get/*.dat"), 0.3),
        ),
        (
            *_MALDOC,
            Link("threatexpert", "md5", "stage+host", 6, 0.85),
            Link("threatexpert", "host", "md5", 4, 0.8),
            Strangers("virustotal", "md5+sha256", "busy", 5, 0.8, same=True),
            Pulse(0.1, 0.4),
        ),
    ),
    _style(
        "maldoc",
        1,
        (
            Role("md5", looks.md5, 0.2),
            Role("sha256", looks.sha256, 0.2),
            Role("name", looks.files("scan_*.iso"), 0.1),
            Role("host", looks.business("co", "in"), 0.2),
            Role("stage", looks.urls("host", "files/*/a.hta", "doc/*/b.hta"), 0.3),
        ),
        (
            *_MALDOC,
            Link("virustotal", "md5+sha256", "stage", 6, 0.85),
            Link("virustotal", "stage", "sha256", 3, 0.8),
            Strangers("threatexpert", "md5", "busy", 8, 0.7, same=True),
            Strangers("threatexpert", "host", "md5", 80, 0.6),
            Pulse(0.2, 0.2),
        ),
        "b",
    ),
)

# apps for telephones
_MOBILE: tuple[Rule, ...] = (
    Link("virustotal", "md5", "sha256", ALIGNED, 0.9),
    Link("virustotal", "sha256", "md5", ALIGNED, 0.9),
    Link("virustotal", "md5+sha256", "name", 1, 0.7),
    Hub("dns", "api", "cdn", 2, 0.8),
    Hub("passivetotal", "api", "cdn", 1, 0.5),
    Pulse(0.1, 0.3),
)
MOBILE = (
    _style(
        "mobile",
        1,
        (
            Role("md5", looks.md5, 0.3),
            Role("sha256", looks.sha256, 0.25),
            Role("name", looks.files("com.@.@.apk"), 0.1),
            Role("api", looks.api("com", "net"), 0.35),
        ),
        (
            *_MOBILE,
            *_both("threatcrowd", "md5", "api", 5, 0.85),
            Strangers("virustotal", "md5+sha256", "ads", 12, 0.8),
        ),
    ),
    _style(
        "mobile",
        1,
        (
            Role("md5", looks.md5, 0.3),
            Role("sha256", looks.sha256, 0.25),
            Role("name", looks.files("@-v*.apk"), 0.1),
            Role("api", looks.api("io", "me"), 0.35),
        ),
        (
            *_MOBILE,
            Link("virustotal", "md5+sha256", "api", 4, 0.85),
            Link("virustotal", "api", "sha256", 4, 0.85),
            Strangers("threatcrowd", "md5", "ads", 12, 0.7),
            Strangers("threatcrowd", "api", "md5", 100, 0.7),
        ),
        "b",
    ),
)

# mail cannons
_MAIL: tuple[Rule, ...] = (
    Link("dns", "mta", "node", ALIGNED, 0.85),
    Hub("whois", "base", "ns", 2, 0.9),
    Strangers("virustotal", "node", "sha256", 40, 0.5),
    Pulse(0.1, 0.35),
)
MAIL = (
    _style(
        "mail",
        0.8,
        (
            Role("node", looks.block("mail_a"), 0.4),
            Role("mta", looks.mta("com", "us"), 0.4),
            Role("base", looks.short("us", "com"), 0.2),
        ),
        (
            *_MAIL,
            Link("dns", "node", "mta", ALIGNED, 0.85),
            Link("dns", "base", "mta", 5, 0.8),
            Link("shodan", "node", "mta", 6, 0.7),
            Strangers("passivetotal", "node", "sites", 60, 0.7),
        ),
    ),
    _style(
        "mail",
        0.8,
        (
            Role("node", looks.block("mail_b"), 0.4),
            Role("mta", looks.mta("eu", "biz"), 0.4),
            Role("base", looks.short("eu", "biz"), 0.2),
        ),
        (
            *_MAIL,
            Pointer("node", "rentaserver.net", 0.8),
            *_both("passivetotal", "node", "mta", 6, 0.85),
            *_both("passivetotal", "node", "base", 3, 0.6),
            Strangers("shodan", "node", "ips", 100, 0.7),
        ),
        "b",
    ),
)

STYLES: tuple[Style, ...] = (
    *FLUX,
    *LOOKALIKE,
    *HACKED,
    *DYNAMIC,
    *DROPPER,
    *BULLETPROOF,
    *PANEL,
    *PATHKIT,
    *COVER,
    *BOTNET,
    *MALDOC,
    *MOBILE,
    *MAIL,
)
