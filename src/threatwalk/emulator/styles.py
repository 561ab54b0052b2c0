"""The styles of campaign: which source is right depends on what the samples look like.

Each style has a route that leads through most of it, and sources that explode. Its two variants differ
in looks (top-level domains, networks, paths, file names), and they turn further sources around: what is
exact for one variant explodes, or is silent, for the other.
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

Roles = tuple[Role, ...]
Rules = tuple[Rule, ...]

_EXACT = Pulse(0.8, 0.03)
_MEGA = Pulse(0.05, 0.55)
_SELDOM = Pulse(0.2, 0.15)


def _variants(
    name: str, weight: float, common: Rules, a: tuple[Roles, Rules], b: tuple[Roles, Rules]
) -> tuple[Style, Style]:
    return tuple(  # type: ignore[return-value]
        Style(name, f"{name}-{variant}", weight, roles, (*common, *rules))
        for variant, (roles, rules) in (("a", a), ("b", b))
    )


def _both(source: str, one: str, other: str, each: int, known: float) -> Rules:
    return Link(source, one, other, each, known), Link(source, other, one, each, known)


def _same_file(*kinds: str, known: float = 0.9) -> Rules:
    """VirusTotal tells the other hashes of a file."""
    return tuple(Link("virustotal", a, b, ALIGNED, known) for a in kinds for b in kinds if a != b)


# generated names on fast flux: home lines serve them for hours
FLUX = _variants(
    "flux",
    1,
    (
        Link("dns", "name", "bot", 4, 0.8),
        Pointer("bot", "telekabel.net", 0.7),
        *_both("passivetotal", "name", "bot", 7, 0.85),
        Link("virustotal", "name", "bot", 2, 0.5),
        Strangers("virustotal", "bot", "sha256", 40, 0.8),
        Strangers("shodan", "bot", "ips", 100, 0.7),
        Hub("whois", "name", "ns", 2, 0.9),
    ),
    (
        (Role("name", looks.generated("ru", "cc", "su"), 0.6), Role("bot", looks.addresses("home_a"), 0.4)),
        (*_both("threatcrowd", "name", "bot", 8, 0.85), _MEGA),
    ),
    (
        (Role("name", looks.generated("info", "biz"), 0.6), Role("bot", looks.addresses("home_b"), 0.4)),
        (Strangers("threatcrowd", "bot", "sites", 60, 0.7), _EXACT),
    ),
)

# look-alike brands behind a delivery network
_FRONT_PARTS = (
    Role("login", looks.under("front", "login", "www", "account"), 0.2),
    Role("page", looks.urls("front", "signin/index.php", "secure/verify.php"), 0.15),
)
LOOKALIKE = _variants(
    "lookalike",
    1,
    (
        Hub("dns", "front+login", "cdn", 2, 0.95),
        Link("censys", "front+login", "front", 7, 0.8),
        Link("censys", "front+login", "login", 2, 0.8),
        Hub("virustotal", "front+page", "cdn", 1, 0.6),
        Link("virustotal", "login", "front", ALIGNED, 0.6),
        Link("virustotal", "front", "login", 1, 0.6),
        Link("virustotal", "page", "front", ALIGNED, 0.9),
        Link("shodan", "front", "login", 1, 0.4),
        Link("otx", "front", "page", 1, 0.4),
        Link("otx", "page", "front", ALIGNED, 0.5),
        Link("passivetotal", "login", "front", 3, 0.6),
        Hub("whois", "front", "ns_cdn", 2, 0.9),
        Hub("threatcrowd", "front", "cdn", 1, 0.3),
    ),
    (
        (Role("front", looks.lookalike("com", "net"), 0.65), *_FRONT_PARTS),
        (Link("passivetotal", "front", "front", 12, 0.85), _MEGA),
    ),
    (
        (Role("front", looks.lookalike("shop", "xyz", "online"), 0.65), *_FRONT_PARTS),
        (Strangers("passivetotal", "front", "sites", 300, 0.8, same=True), _EXACT),
    ),
)

# hacked small-business sites on shared hosting
_HACKED_FILES = (Role("sha256", looks.sha256, 0.18), Role("md5", looks.md5, 0.12))
HACKED = _variants(
    "hacked",
    1,
    (
        Hub("dns", "site", "shared", 1, 0.95),
        Hub("passivetotal", "site", "shared", 1, 0.8),
        Hub("virustotal", "site", "shared", 1, 0.1),
        Strangers("shodan", "site", "subs", 8, 0.6),
        Link("virustotal", "link", "site", ALIGNED, 0.85),
        Link("virustotal", "link", "sha256", 2, 0.85),
        Link("virustotal", "sha256+md5", "link", 12, 0.85),
        Link("virustotal", "site", "sha256", 1, 0.75),
        Link("otx", "site", "link", 2, 0.6),
        Link("otx", "link", "site", ALIGNED, 0.5),
        Hub("whois", "site", "ns", 2, 0.9),
        *_same_file("md5", "sha256"),
    ),
    (
        (
            Role("site", looks.business("de", "co.uk", "it", "pl"), 0.25),
            Role("link", looks.urls("site", "wp-content/plugins/*.php", "wp-includes/js/*.php"), 0.45),
            *_HACKED_FILES,
        ),
        (
            Link("threatexpert", "md5", "link+site", 8, 0.8),
            Link("threatexpert", "site", "md5", 2, 0.7),
            _MEGA,
        ),
    ),
    (
        (
            Role("site", looks.business("com.br", "fr", "es", "nl"), 0.25),
            Role("link", looks.urls("site", "images/stories/*.gif", "media/cache/*.jpg"), 0.45),
            *_HACKED_FILES,
        ),
        (Strangers("threatexpert", "md5+site", "md5", 60, 0.7), _EXACT),
    ),
)

# dynamic DNS on home lines
_RAT = (Role("md5", looks.md5, 0.1), Role("sha256", looks.sha256, 0.1))
DYNAMIC = _variants(
    "dynamic",
    1,
    (
        Link("dns", "dyn", "home", ALIGNED, 0.85),
        Pointer("home", "dsl-line.net", 0.7),
        *_both("passivetotal", "dyn", "home", 5, 0.85),
        Hub("whois", "dyn", "ns_dyn", 2, 0.9),
        Strangers("shodan", "home", "ips", 100, 0.6),
        Link("threatexpert", "md5", "dyn", 4, 0.6),
        Link("threatexpert", "dyn", "md5", 1, 0.5),
        Link("virustotal", "sha256+md5", "dyn", 4, 0.8),
        *_same_file("md5", "sha256"),
    ),
    (
        (Role("dyn", looks.dynamic("dyn_a"), 0.5), Role("home", looks.addresses("home_b"), 0.3), *_RAT),
        (
            Link("virustotal", "dyn", "sha256", 2, 0.8),
            Link("virustotal", "home", "dyn", 5, 0.8),
            Strangers("threatcrowd", "dyn+home", "dyn_a", 100, 0.7),
            _MEGA,
        ),
    ),
    (
        (Role("dyn", looks.dynamic("dyn_b"), 0.5), Role("home", looks.addresses("home_c"), 0.3), *_RAT),
        (
            Strangers("virustotal", "home", "sha256", 50, 0.8),
            Strangers("virustotal", "dyn", "dyn_b", 80, 0.7),
            *_both("threatcrowd", "dyn", "md5", 4, 0.8),
            Link("threatcrowd", "home", "dyn", 4, 0.7),
            _SELDOM,
        ),
    ),
)

# hash-only malware
_FILES = (
    Role("md5", looks.md5, 0.3),
    Role("sha1", looks.sha1, 0.2),
    Role("sha256", looks.sha256, 0.35),
)
DROPPER = _variants(
    "dropper",
    1,
    (
        *_same_file("md5", "sha1", "sha256"),
        Link("virustotal", "md5+sha1+sha256", "name", 1, 0.8),
        Link("virustotal", "md5+sha1+sha256", "sha256", 4, 0.8),
        Link("nsrl", "name", "sha1+md5", 2, 0.7),
        Strangers("nsrl", "md5+sha1+sha256", "md5", 2, 0.1),
    ),
    (
        (*_FILES, Role("name", looks.files("invoice_*.doc"), 0.15)),
        (
            Link("threatexpert", "md5", "md5", 6, 0.85),
            Link("threatexpert", "md5", "sha1+name", 3, 0.85),
            Link("threatcrowd", "md5+sha1", "md5", 3, 0.5),
            _MEGA,
        ),
    ),
    (
        (*_FILES, Role("name", looks.files("@*.exe"), 0.15)),
        (
            Strangers("virustotal", "md5+sha1+sha256", "busy", 2, 0.15, same=True),
            Strangers("threatexpert", "md5", "md5", 80, 0.7),
            Strangers("threatcrowd", "md5+sha1", "md5", 60, 0.5),
            _EXACT,
        ),
    ),
)

# bulletproof /24 blocks
BULLETPROOF = _variants(
    "bulletproof",
    1,
    (
        Link("dns", "name", "node", 2, 0.8),
        *_both("passivetotal", "node", "name", 5, 0.85),
        Strangers("virustotal", "node", "sha256", 60, 0.7),
        Link("virustotal", "name", "node", 2, 0.4),
        Hub("whois", "name", "ns", 2, 0.9),
        Link("threatcrowd", "node", "name", 2, 0.3),
    ),
    (
        (Role("node", looks.block("block_a"), 0.6), Role("name", looks.short("su", "ru"), 0.4)),
        (
            Link("shodan", "node", "node", 10, 0.85),
            Strangers("censys", "node", "cdn", 60, 0.7),
            _MEGA,
        ),
    ),
    (
        (Role("node", looks.block("block_b"), 0.6), Role("name", looks.short("pw", "in", "cn"), 0.4)),
        (
            Strangers("shodan", "node", "ips", 120, 0.8),
            *_both("censys", "node", "name", 8, 0.85),
            _SELDOM,
        ),
    ),
)

# control panels on rented servers
_IMPLANTS = (Role("sha256", looks.sha256, 0.2), Role("md5", looks.md5, 0.15))
PANEL = _variants(
    "panel",
    1,
    (
        Pointer("server", "cloudvps.com", 0.7),
        Link("virustotal", "gate", "server", ALIGNED, 0.9),
        Link("virustotal", "server", "sha256", 3, 0.85),
        Link("virustotal", "sha256+md5", "server", 4, 0.85),
        Link("virustotal", "sha256+md5", "gate", 2, 0.7),
        Link("otx", "gate", "server", ALIGNED, 0.6),
        Link("virustotal", "gate", "sha256", 1, 0.6),
        Link("otx", "server", "gate", 1, 0.5),
        *_same_file("md5", "sha256"),
        Strangers("censys", "server", "subs", 3, 0.5),
        Strangers("passivetotal", "server", "sites", 40, 0.5),
    ),
    (
        (
            Role("server", looks.addresses("cloud_a"), 0.4),
            Role("gate", looks.urls("server", "panel/gate.php", "p/gate.php"), 0.25),
            *_IMPLANTS,
        ),
        (Link("shodan", "server", "server", 10, 0.85), _MEGA),
    ),
    (
        (
            Role("server", looks.addresses("cloud_b"), 0.4),
            Role("gate", looks.urls("server", "api/v2/submit", "api/v1/beacon"), 0.25),
            *_IMPLANTS,
        ),
        (Strangers("shodan", "server", "ips", 100, 0.8), _EXACT),
    ),
)

# kits with their own URL path on throw-away domains
PATHKIT = _variants(
    "pathkit",
    1,
    (
        Hub("dns", "throw", "park", 1, 0.8),
        Link("virustotal", "kit", "throw", ALIGNED, 0.9),
        Hub("virustotal", "throw", "park", 1, 0.6),
        Hub("virustotal", "kit", "park", 1, 0.3),
        Hub("whois", "throw", "ns", 2, 0.9),
        Hub("shodan", "throw", "park", 1, 0.5),
        Link("otx", "kit", "throw", ALIGNED, 0.7),
        Link("otx", "throw", "kit", 2, 0.85),
        Pulse(0.8, 0.05, 0.75),
    ),
    (
        (
            Role("throw", looks.pairs("club", "site"), 0.45),
            Role("kit", looks.urls("throw", "track/*/go.php", "promo/*/index.php"), 0.55),
        ),
        (Link("passivetotal", "throw", "throw", 8, 0.85),),
    ),
    (
        (
            Role("throw", looks.pairs("live", "icu"), 0.45),
            Role("kit", looks.urls("throw", "s/*/check", "r/*/update"), 0.55),
        ),
        (
            Strangers("passivetotal", "throw", "park", 150, 0.8),
            Link("censys", "throw", "throw", 8, 0.8),
        ),
    ),
)

# news-like names with name servers of their own
COVER = _variants(
    "cover",
    1,
    (
        Hub("dns", "cover", "sink", 1, 0.6),
        Link("dns", "cover", "mail", 1, 0.4),
        Link("censys", "cover+mail", "cover", 6, 0.8),
        Link("censys", "cover", "mail", 2, 0.7),
        Link("virustotal", "cover", "mail", 1, 0.4),
        Link("virustotal", "doc", "cover", 4, 0.85),
        Link("virustotal", "cover", "doc", 1, 0.5),
    ),
    (
        (
            Role("cover", looks.news("org", "com"), 0.6),
            Role("server", looks.under("cover", "ns1", "ns2"), 0.15),
            Role("mail", looks.under("cover", "mail"), 0.1),
            Role("doc", looks.sha256, 0.15),
        ),
        (
            Link("whois", "cover", "server", 2, 0.9),
            Link("passivetotal", "server", "cover", 10, 0.85),
            Link("passivetotal", "cover", "cover+server", 4, 0.6),
            Strangers("virustotal", "cover", "sha256", 40, 0.25),
            _MEGA,
        ),
    ),
    (
        (
            Role("cover", looks.news("info", "net"), 0.65),
            Role("mail", looks.under("cover", "mail", "webmail"), 0.2),
            Role("doc", looks.sha256, 0.15),
        ),
        (
            Hub("whois", "cover", "ns", 2, 0.9),
            Strangers("passivetotal", "cover", "sites", 250, 0.8, same=True),
            _EXACT,
        ),
    ),
)

# lists of infected home lines
BOTNET = _variants(
    "botnet",
    0.7,
    (
        Pointer("bot", "cablelink.net", 0.8),
        Strangers("virustotal", "bot", "sha256", 40, 0.7),
        Strangers("passivetotal", "bot", "sites", 30, 0.5),
        Pulse(0.85, 0.03, 0.8),
    ),
    (
        (Role("bot", looks.addresses("home_c"), 1.0),),
        (Strangers("shodan", "bot", "ips", 100, 0.7),),
    ),
    (
        (Role("bot", looks.addresses("home_d"), 1.0),),
        (Link("shodan", "bot", "bot", 8, 0.8),),
    ),
)

# documents that fetch the next stage
_DOCUMENTS = (Role("md5", looks.md5, 0.2), Role("sha256", looks.sha256, 0.2))
MALDOC = _variants(
    "maldoc",
    1,
    (
        *_same_file("md5", "sha256"),
        Link("virustotal", "md5+sha256", "name", 1, 0.8),
        Link("virustotal", "md5+sha256", "stage", 4, 0.85),
        Link("virustotal", "stage", "host", ALIGNED, 0.85),
        Link("virustotal", "stage", "sha256", 2, 0.8),
        Link("virustotal", "host", "sha256", 2, 0.6),
        Link("otx", "host", "stage", 2, 0.5),
        Hub("dns", "host", "shared", 1, 0.7),
        Hub("whois", "host", "ns", 2, 0.9),
        Link("nsrl", "name", "md5+sha256", 2, 0.6),
    ),
    (
        (
            *_DOCUMENTS,
            Role("name", looks.files("order-*.xlsm"), 0.1),
            Role("host", looks.business("work", "top"), 0.2),
            Role("stage", looks.urls("host", "dl/*.bin", "get/*.dat"), 0.3),
        ),
        (
            Link("threatexpert", "md5", "stage+host", 8, 0.85),
            Link("threatexpert", "host", "md5", 4, 0.8),
            _MEGA,
        ),
    ),
    (
        (
            *_DOCUMENTS,
            Role("name", looks.files("scan_*.iso"), 0.1),
            Role("host", looks.business("co", "in"), 0.2),
            Role("stage", looks.urls("host", "files/*/a.hta", "doc/*/b.hta"), 0.3),
        ),
        (
            Strangers("threatexpert", "md5", "busy", 8, 0.7, same=True),
            Strangers("threatexpert", "host", "md5", 80, 0.6),
            _EXACT,
        ),
    ),
)

# apps for telephones
_APPS = (Role("md5", looks.md5, 0.3), Role("sha256", looks.sha256, 0.25))
MOBILE = _variants(
    "mobile",
    1,
    (
        *_same_file("md5", "sha256"),
        Link("virustotal", "md5+sha256", "name", 1, 0.7),
        Link("virustotal", "md5+sha256", "api", 4, 0.85),
        Link("virustotal", "api", "sha256", 4, 0.85),
        Link("nsrl", "name", "md5+sha256", 2, 0.6),
        Hub("dns", "api", "cdn", 2, 0.8),
        Hub("passivetotal", "api", "cdn", 1, 0.5),
    ),
    (
        (
            *_APPS,
            Role("name", looks.files("com.@.@.apk"), 0.1),
            Role("api", looks.api("com", "net"), 0.35),
        ),
        (*_both("threatcrowd", "md5", "api", 5, 0.85), _MEGA),
    ),
    (
        (
            *_APPS,
            Role("name", looks.files("@-v*.apk"), 0.1),
            Role("api", looks.api("io", "me"), 0.35),
        ),
        (
            Strangers("threatcrowd", "md5+api", "md5", 60, 0.7),
            _EXACT,
        ),
    ),
)

# mail cannons
MAIL = _variants(
    "mail",
    0.8,
    (
        Link("dns", "mta", "node", ALIGNED, 0.85),
        Link("dns", "node", "mta", ALIGNED, 0.85),
        Link("dns", "base", "mta", 4, 0.85),
        Link("otx", "node", "mta+base", 5, 0.8),
        Link("otx", "mta+base", "node", 4, 0.8),
        Hub("whois", "base", "ns", 2, 0.9),
        Strangers("virustotal", "node", "sha256", 40, 0.5),
    ),
    (
        (
            Role("node", looks.block("mail_a"), 0.4),
            Role("mta", looks.mta("com", "us"), 0.4),
            Role("base", looks.short("us", "com"), 0.2),
        ),
        (
            Link("shodan", "node", "node+mta+base", 9, 0.85),
            Strangers("passivetotal", "node", "sites", 60, 0.7),
            _SELDOM,
        ),
    ),
    (
        (
            Role("node", looks.block("mail_b"), 0.4),
            Role("mta", looks.mta("eu", "biz"), 0.4),
            Role("base", looks.short("eu", "biz"), 0.2),
        ),
        (
            *_both("passivetotal", "node", "mta+base", 6, 0.85),
            Strangers("shodan", "node", "ips", 100, 0.7),
            _SELDOM,
        ),
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
