"""How registries say in prose that we ask too much, that they are out of order, or that there is nothing.

One phrase a line, a regular expression; ` ~ ` stands for up to twelve words between, and a phrase begins with a word.
Written for sentences, whatever their case. What is missing here ends as a failure, never as "nothing known".
"""

import re

_BETWEEN = r"(?:[^\w:]{1,3}\w+){0,12}?[^\w:]{1,3}"  # numbers of an address are words, too


def _any(phrases: str) -> re.Pattern[str]:
    lines = [line.strip().replace(" ~ ", _BETWEEN) for line in phrases.splitlines()]
    return re.compile("|".join(_at_a_word(line) for line in lines if line), re.IGNORECASE)


def _at_a_word(line: str) -> str:
    """Scripts without spaces have no words to begin with, and what is bound by itself needs no more."""
    first = next(character for character in line.removeprefix("(?:") if character.isalnum())
    bound = first >= "\u2e80" or line.startswith(("^", "(?<", r"\S"))
    return f"(?:{line})" if bound else rf"\b(?:{line})"


THROTTLED = _any(r"""
(?:limits?|quotas?|allowance|threshold|rate|maximum|connections|requests|queries) ~ (?:exceeded|reached|hit|exhausted)
(?:limits?|quotas?|allowance|threshold|rate|maximum) ~ (?:surpassed|overrun|used up|depleted)
(?:exceed(?:ed|s)?|reached|hit|over|used up|exhausted|surpassed) ~ (?:limits?|quota|allowance|threshold|maximum|number|rate)
(?:too (?:many|much|frequent(?:ly)?)|excess(?:ive)?|unusual(?:ly)?) (?:\S+ ){0,4}?(?:requests?|quer(?:y|ies|ying)|connections?)
(?:too (?:many|much|frequent(?:ly)?)|excess(?:ive)?|unusual(?:ly)?) (?:\S+ ){0,4}?(?:look-?ups?|traffic|hits|access(?:es)?|sessions)
(?:querying|asking|requests?|queries|lookups) ~ too (?:frequent|fast|often|many|quick)\w*
(?:re)?try(?:ing)? (?:\S+ )?(?:later|after|in \w+|shortly|soon|tomorrow|back)\b
slow down|too fast\b|must wait|go away|back off|grace period of|captcha|wait \d+|wait (?:for|at least|a|another|some|until) \S+
(?:requests?|access|quer(?:y|ies)|connections?|client|ip|address|host|service|you|look-?up) ~ (?:denied|refused|rejected)\b
(?:requests?|access|quer(?:y|ies)|connections?|client|ip|address|host|you) ~ (?:blocked|banned|black-?listed|block-?listed)\b
(?:requests?|access|quer(?:y|ies)|connections?|client|ip|address|host|you) ~ (?:suspended|throttled|dropped|unauthori[sz]ed)\b
(?:access|client|ip|address|host|you)(?: ~ | )not (?:allowed|permitted|authori[sz]ed|white-?listed)(?! to (?:access or|use|copy|reproduce))
(?:denied|refused|blocked|banned|black-?listed) (?:\S+ ){0,4}?(?:access|ip|address|client|from|due to)\b
black-?listed|rate[- ]limited by|(?:on|in) (?:\S+ ){0,2}(?:black|block|deny)-?list|(?:has|have|being) been throttled
access (?:has been|is) (?:temporarily )?(?:restricted|limited|forbidden|disabled)\b(?! to)
only \d+ (?:\S+ )?(?:requests?|quer\w+|connections?|lookups?) (?:per|every|in|are)
^(?:\S+ )?rate[ -]?limit(?:ed|ing)?\W*$
(?:zugriffs|anfrage|abfrage)?(?:limit|kontingent)\S* ~ (?:überschritten|erreicht|erschöpft)
(?:limite|quota|nombre) ~ (?:dépassée?|atteinte?|épuisée?)|trop de \S+
(?:a dépassé|avez (?:dépassé|atteint|épuisé)) ~ (?:limite|quota|nombre)
(?:l[ií]mite|cuota|cota|n[uú]mero|quota|numero) ~ (?:excedid[oa]|superad[oa]|alcanzad[oa]|atingid[oa]|ultrapassad[oa]|superat[oa])
(?:limite|quota|numero) ~ (?:raggiunt[oa]|esaurit[oa])|limiet ~ (?:overschreden|bereikt)
(?:excedido|superado|alcanzado|atingiu|excedeu|ultrapassou|superato|raggiunto) ~ (?:l[ií]mite|cuota|cota|n[uú]mero|m[aá]xim\w|quota)
zu viele|demasiad[ao]s|muitas (?:consultas|requisições|conexões)|troppe|te veel|för många|for mange|liian mont|túl sok|çok fazla
versuchen sie es (?:\S+ )?(?:später|in )|später (?:noch ?(?:ein)?mal|erneut|wieder)|réessaye[rz]|probeer(?: \S+){0,3} (?:later|opnieuw)
intente(?:lo)? (?:\S+ )?(?:más tarde|nuevo)|vuelva a intentar|tente (?:novamente|mais tarde|de novo)|riprova
försök(?: igen)? senare|prøv igen|prøv igjen|yritä myöhemmin|tekrar deneyin
(?:zugriff|zugang|accès|acceso|acesso|accesso|toegang) ~ (?:verweigert|gesperrt|refusée?|interdit|bloqu\w+|denegado|negado|negato)
(?:ip|adresse|dirección|indirizzo|endereço) ~ (?:gesperrt|bloquée?|bloquead[oa]|bloccato|geblokkeerd)
przekroczon|zbyt (?:wiele|dużo|częst)|spróbuj(?: \S+){0,2} (?:później|ponownie)|překročen|příliš mnoho|zkuste to
превышен|превысили|исчерпан|слишком (?:много|част)|перевищен|забагато|заблокирован
(?:повторите|попробуйте|спробуйте) ~ (?:позже|через|пізніше|позднее)|доступ ~ (?:запрещ|ограничен|закрыт|заборонен)
アクセス(?:制限|が集中|が多|回数)
(?:制限|上限)(?:を超|に達)|しばらく(?:し|た|お)
频繁|頻繁|过多|過多|多すぎ|(?:请|請)(?:稍|在)?.{0,6}(?:再试|後再|后再|再試)|(?:超过|超過|超出).{0,12}(?:限制|上限|次数|次數|限额)
초과|잠시 후|너무 많
""")

OUT_OF_ORDER = _any(r"""
(?:temporar\w+|currently|momentarily|presently) (?:\S+ )?(?:unavailable|down|disabled|out of|overloaded|not available|off-?line)
(?:service|server|database|system|backend|registry) (?:is |are |was )?(?:\S+ ){0,2}?(?:unavailable|not available|down\b|busy|overloaded)
(?:service|server|database|system|backend|registry) (?:is |are |was )?(?:\S+ ){0,2}?(?:off-?line|not responding|unreachable|locked)
(?:service|server|database|system|backend|fatal|query|sql|internal|unexpected) (?:\S+ )?(?:error|failure|failed)
too busy|overload(?:ed)?\b|(?:under|for|scheduled) maintenance|timed? ?out\b|connection (?:refused|reset|closed|failed|lost|error)
(?:could not|cannot|can't|can not|unable to|failed to) (?:be )?(?:connect|open|reach|contact|process|complete|perform|execute)\w*
(?:could not|cannot|can't|can not|unable to|failed to) (?:be )?(?:handle|answer|serve|retrieve|access|fetch|resolve)\w*
(?:service|information|data) (?:is )?not available at (?:this|the) (?:time|moment)
wartung\w*|dienst ~ nicht (?:verfügbar|erreichbar)|hors service|service ~ indisponible|en mantenimiento|em manutenção
servi[zc]io ~ (?:non disponibile|no disponible)|serviço ~ indisponível|технические работы|временно недоступ
メンテナンス|维护|維護|점검
""")

NOTHING = _any(r"""
no[ _-]?match|no matching|no such (?:domain|name|object|record|entry|host|registration|key)|no (?:hits|results?)\b|not match\b
nothing (?:was |is |has been )?found|no[ _]found
no (?:\S+ ){0,3}?(?:entry|entries|data|objects?|records?|information|domains?|names?|registrations?) ~ (?:found|exists?|match\w*)
no (?:entry|entries|data|objects?|records?|information|domains?)(?: was| were| is)? (?:found|exists?)
no (?:information|records?|entry|data) (?:is )?(?:available )?(?:about|on|for)\b|no details found
(?:can not|cannot|can't|could not|couldn't) (?:find|locate) (?:\S+ ){0,3}?(?:domain|name|entry|record|\S+\.\S+)
(?:domain|name) (?:\S+ ){0,3}?not in (?:use|(?:our |the )?database)
(?<!server )(?<!host )(?<!file )(?<!page )(?<!command )(?<!database )(?<!404 )(?<!service )(?<!backend )(?<!module )\bnot[ _-](?:be )?found(?!:? ?/)
not (?:yet )?(?:been )?(?:registered|registred|known|assigned|allocated|delegated)\b|unregistered
object[ _]not[ _]found|(?:does|do|did)(?: not|n't) (?:yet )?exist|not exist|domain unknown|unknown domain
(?:do|does) not (?:have|contain|hold) (?:an|any) (?:entry|entries|data|record|information|match)
(?:returned|found) 0 |0 (?:objects?|records?|results?|matches|entries)\b
(?:domain|name) (?:\S+ ){0,3}?is (?:still |currently |now |also )?(?:not )?(?:free|available)(?! (?:at|from|on|in|via|or|under)\b)\b
(?:domain|name) (?:\S+ ){0,3}?is (?:\S+ )?(?:reserved|prohibited|forbidden|invalid|blocked|unassigned|premium)\b
\S\.[a-z]\S+ is (?:still |currently |now )?(?:free|available|reserved|prohibited|invalid|unassigned)(?! (?:at|from|on|in|via|or)\b)\b
(?:not |is |be )available for (?:registration|purchase|sale)|c(?:an|ould)(?:not| not) be (?:registered|used for)
(?:status|state): *(?:free|available|invalid|unavailable|unassignable|reserved|premium|inactive|not registered|no object)
query_status: *(?:2[2-9]\d|available)
^(?:domain |\S+\.\w+ ?[-:] )?(?:free|available|reserved|unregistered|invalid)\W*$
reserved (?:by|name|domain|list|for|word)|in the reserved list|registry reserved|the domain you requested is
(?<!rights )\breserved\W*$
invalid domain|not (?:a )?valid domain|domain (?:name )?(?:is )?(?:invalid|not valid)|no name ?servers?\b
keine?n? (?:\S+ )?(?:eintr[aä]g\w*|treffer|objekte?|daten|domain)|nicht (?:registriert|gefunden|vergeben|vorhanden)|existiert nicht|ist (?:noch )?frei
aucune?s? (?:\S+ ){0,3}?(?:trouv\w+|correspond\w*|entr[ée]e|objet|résultat|enregistrement|donnée|domaine)
n'existe pas|(?:pas|non) (?:encore )?(?:enregistré|trouvé)|domaine (?:inconnu|libre|disponible)|domaine (?:\S+ )?est (?:libre|disponible)
no (?:se (?:ha )?encontr\w+|se ha registrado|existe\w*|está registrad\w|registrad\w|encontrad\w)|no_se_encontro
no hay (?:\S+ )?(?:registros?|datos|resultados|coincidencias|información)|domínio inexistente|dominio (?:libre|disponible|desconocido|inesistente|inexistente)
não (?:existe\w*|(?:foi |está )?(?:encontrad\w|registad\w|registrad\w|localizad\w))|nenhum\w* (?:\S+ ){0,2}?(?:registro|resultado|domínio)
non (?:è |e' )?(?:stato )?(?:trovat\w|registrat\w|presente)|non esiste|nessun\w? (?:\S+ ){0,2}?(?:dominio|oggetto|risultat\w|dato)
niet (?:gevonden|geregistreerd)|bestaat niet|is (?:vrij|beschikbaar)\b|(?:ikke|inte|ej) (?:funnet|fundet|hittad|registr\w+)
finns inte|är ledig|ne postoji|jest woln\w|ei löydy|nincs találat|nem (?:található|létezik)|nu (?:există|a fost găsit)|bulunamadı|kayıtlı değil
brak (?:\S+ ){0,3}?(?:domen\w*|danych|informacji|wyników|wpis\w*|rekord\w*)|nenalezen|není registrov|neexistuje
nie (?:znalezion\w*|istnieje|jest zarejestrowan\w|została? zarejestrowan\w)
не (?:найден|зарегистрирован|существует|занят|делегирован|знайдено|зареєстрован|існує)|немає записів
нет (?:записей|данных|информации о|такого)|домен(?:ное имя)? (?:\S+ )?свобод
該当する|見つかりません|存在しません|登録されていません|登録なし|找不到
(?:没有|沒有|未|无|無)(?:找到|注册|註冊|查到|匹配|相关记录)|不存在|查无|查無|尚未(?:注册|註冊)
등록되(?:어|지)|존재하지|찾을 수 없
""")

CONDITION = _any(r"""
(?:if|whether|when|whenever|once|unless|in case|to prevent|to avoid|may|might|must|note that|agree|guarantee|warrants?|impl(?:y|ies)|mean|terms (?:of|and))\b
""")
CONSEQUENCE = _any(r"""
(?:will|may|might|can|could|shall) (?:result|lead|cause|be (?:block|ban|black|den|disconn|restrict|limit|refus|suspend))
or not\b
""")
