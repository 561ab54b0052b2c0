"""Prose of registries, invented in the manner of many: what throttles or fails is no answer, what denies is one."""

import pytest
from tests.contract.sources.recordings import ELSEWHERE, pivots

from threatwalk.errors import AnswerError
from threatwalk.sources.registry_servers import servers
from threatwalk.sources.registry_text import Verdict, judged

TERMS = """
% Use of this service is governed by our terms. Queries are rate limited; exceeding the limit may lead to your IP
% address being blocked. You agree not to use automated processes, and that excessive querying will result in
% access being denied. We do not guarantee that a domain name is available for registration if it is not found here.
"""

NO_ANSWERS = [
    "Query limit exceeded",
    "You have exceeded the maximum number of queries allowed per day. Please try again tomorrow.",
    "WHOIS LIMIT EXCEEDED - SEE WWW.EXAMPLE.ORG/WHOIS FOR DETAILS",
    "%ERROR:201: access denied for 192.0.2.7",
    "%ERROR:306: connections exceeded",
    "% Maximum query rate reached",
    "Quota exceeded",
    "Your quota of 100 lookups has been used up; it is replenished at midnight UTC.",
    "Your IP 192.0.2.7 has been blacklisted. Contact abuse@registry.example.",
    "Your IP address is on our blacklist.",
    "Sorry, your access has been blocked due to too many connections.",
    "Connection refused due to too many requests from your address.",
    "Error: Too Many Requests",
    "% Too many simultaneous connections from your host, closing.",
    "-1: Rate limited.",
    "Rate limit exceeded for client 192.0.2.7; domain not found in cache",
    "Excessive querying detected. No entries found for example.xx",
    "Please slow down!",
    "Request throttled. Please wait 30 seconds before your next query.",
    "You are querying too frequently.",
    "Permission denied: the IP address used to query is not authorised or has exceeded the limit for queries.",
    "Daily allowance reached",
    "The number of allowed queries has been exceeded for your network (192.0.2.0/24).",
    "The limit was hit.\nTry again in an hour.",
    "Only 10 queries per minute are allowed from one address",
    "User 192.0.2.7 has been temporarily banned",
    "Service temporarily unavailable, domain not found",
    "The WHOIS database is currently down for maintenance.",
    "Server busy, no match possible",
    "Internal server error",
    "Could not connect to the database: host not found",
    "Timeout while looking up example.xx",
    "Unable to process your query at this time",
    "Information is not available at this time",
    "ERROR: database error (3)",
    "<html><head><title>404 Not Found</title></head></html>",
    "HTTP/1.1 400 Bad Request",
    "backend not found",
    "not found: /usr/lib/whois",
    "Whois service is no longer available; domain data is available at https://www.example.org",
    "Hello",
    "% This is a whois server.\n% Rights restricted by copyright.",
    "Abfragelimit überschritten. Bitte versuchen Sie es später erneut.",
    "Zu viele Anfragen von Ihrer Adresse",
    "Zugriff verweigert",
    "Trop de requêtes, veuillez réessayer plus tard. Domaine non trouvé.",
    "La limite de requêtes est dépassée",
    "Demasiadas consultas desde su dirección IP. Intente más tarde.",
    "Ha superado el límite de consultas",
    "Limite de consultas excedido, tente novamente mais tarde",
    "Acesso negado para 192.0.2.7",
    "Troppe richieste: riprova più tardi",
    "Te veel aanvragen, probeer het later opnieuw",
    "Przekroczono limit zapytań",
    "Překročen limit dotazů",
    "Превышен лимит запросов. Попробуйте позже.",
    "Слишком много запросов с вашего адреса",
    "Перевищено ліміт запитів",
    "アクセス制限中です。しばらくしてから再度お試しください。",
    "查询过于频繁,请稍后再试",
    "超出查询次数限制",
    "조회 횟수를 초과하였습니다. 잠시 후 다시 시도하십시오.",
]  # fmt: skip

NOTHINGS = [
    'No match for "EXAMPLE.COM".',
    "No match!!",
    "NOT FOUND",
    "DOMAIN NOT FOUND",
    "Domain not found.",
    "No Data Found",
    "No Object Found",
    "NO OBJECT FOUND!",
    "Domain Status: No Object Found",
    "Not found: example.us",
    "%ERROR:101: no entries found\n%\n% No entries found in source REGISTRY.",
    "% No entries found for the selected source(s).",
    "No entries found for domain example.xx",
    "% nothing found",
    "*** Nothing found for this query.",
    "No such domain",
    "% No such domain example.lu",
    "Object does not exist",
    "Domain name example.bg does not exist in database!",
    "The domain example.im was not found.",
    "The domain has not been registered.",
    "% Not Registered - example.ie",
    "Domain example.xx is not registered.",
    "%ERROR:103: Domain is not registered",
    "Status: AVAILABLE",
    "Domain: example.de\nStatus: free",
    "Domain Status: Available",
    "example.nl is free",
    "query_status: 220 Available",
    "Domain example.tm is available for purchase",
    "No information available about domain name example.pl in the Registry database.",
    "We do not have an entry in our database matching your query.",
    "Invalid query or domain name not known in the Registry",
    "Domain unknown",
    "No records matching example.xx found.",
    "% No data was found to match the request criteria.",
    "The requested domain was not found in the Registry or Registrar's WHOIS Server.",
    "No domain records were found to match example.xx",
    "% This query returned 0 objects.",
    "no matching record.",
    "No_Se_Encontro_El_Objeto/Object_Not_Found",
    "Reserved by Registry",
    "This name is reserved by the Registry in accordance with its policy.",
    "This domain cannot be registered because it contravenes the naming rules.",
    "The domain you requested is prohibited.",
    'domain "example.se" not found.',
    "example.cl: no existe",
    "No hay registros para example.xx",
    "O domínio não existe",
    "Aucun enregistrement trouvé pour example.xx",
    "Le domaine n'existe pas",
    "Kein Eintrag gefunden",
    "Die Domain ist nicht registriert",
    "Il dominio non è registrato",
    "Brak informacji o domenie example.pl",
    "Домен не найден",
    "Доменное имя не зарегистрировано",
    "該当するデータがありません",
    "您查询的域名尚未注册",
    "요청하신 도메인은 등록되어 있지 않습니다.",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_ANSWERS)
def test_what_throttles_or_fails_is_no_answer(text: str) -> None:
    for whole in (text, f"{text}\r\n", f"% {text}\n", f"{text}\n{TERMS}", f"{TERMS}\n{text}\n"):
        assert not judged(whole)[0].answers, whole
        with pytest.raises(AnswerError):
            pivots("whois", ELSEWHERE, whole)


@pytest.mark.parametrize("text", NOTHINGS)
def test_what_says_that_there_is_nothing_is_an_answer(text: str) -> None:
    for whole in (text, f"{text}\r\n", f"% {text}\n", f"{text}\n{TERMS}", f"{TERMS}\n{text}\n", text.upper()):
        assert judged(whole)[0] is Verdict.NOTHING, whole
        assert pivots("whois", ELSEWHERE, whole) == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Name Server: NS1.EXAMPLE.NET\nName Server: NS2.EXAMPLE.NET", id="ICANN"),
        pytest.param("nserver:   ns1.example.net [192.0.2.1]\nnserver:   ns2.example.net", id="RIPE"),
        pytest.param("nameservers:   ns1.example.net. [192.0.2.1]\n               ns2.example.net.\ncreated: 2020", id="continued"),
        pytest.param("Name Servers Information:\n\nNS1.EXAMPLE.NET\nNS2.EXAMPLE.NET\n\nexample.com", id="heading, not indented"),
        pytest.param("NAME SERVER INFORMATION:\nns1.example.net (192.0.2.1)\nns2.example.net\nDNSSEC: inactive", id="with addresses"),
        pytest.param("** Domain Servers:\nns1.example.net\nns2.example.net\n\n** Additional Info:", id="stars"),
        pytest.param("Domain servers in listed order:\n   ns1.example.net   192.0.2.1\n   ns2.example.net\n", id="in listed order"),
        pytest.param("Domain name servers:\n---------------\nNS1.EXAMPLE.NET\nNS2.EXAMPLE.NET", id="ruled"),
        pytest.param("Name servers:\nns1.example.net\nns2.example.net\t[192.0.2.1]\n", id="heading and tabs"),
        pytest.param("Primary server.......: ns1.example.net\nSecondary server.....: ns2.example.net", id="dotted"),
        pytest.param("nserver..........: ns1.example.net [OK]\nnserver..........: ns2.example.net [OK]", id="dotted labels"),
        pytest.param("ns_name_01: ns1.example.net\nns_name_02: ns2.example.net", id="numbered"),
        pytest.param("NS 1   : ns1.example.net\nNS 2   : ns2.example.net", id="numbered, short"),
        pytest.param("Nameservers\nHostname:             ns1.example.net\nHostname:             ns2.example.net", id="hostname"),
        pytest.param("DNS servers\nName.........: ns1.example.net.\nName.........: ns2.example.net.", id="name below DNS servers"),
        pytest.param("   DNS:            ns1.example.net\n   DNS:            ns2.example.net", id="DNS"),
        pytest.param("Servidor(es) de Nombres de Dominio:\n\n - ns1.example.net\n - ns2.example.net\n", id="listed with dashes"),
        pytest.param("Servidores de nombre (Domain servers):\n     ns1.example.net (192.0.2.1)\n     ns2.example.net\n", id="bilingual"),
        pytest.param("p. [ネームサーバ]      ns1.example.net\np. [ネームサーバ]      ns2.example.net", id="Japanese"),
        pytest.param("Nameservers: ns1.example.net, ns2.example.net", id="on one line"),
        pytest.param("i [Primary Name Server]     ns1.example.net\nj [Secondary Name Server]   ns2.example.net", id="primary and secondary"),
        pytest.param("Query limit exceeded soon\nName Server:ns1.example.net.\nName Server:ns2.example.net.", id="beside a warning"),
    ],
)  # fmt: skip
def test_name_servers_are_found_however_they_stand(text: str) -> None:
    assert set(servers(f"Domain: example.com\n{text}")) == {"ns1.example.net", "ns2.example.net"}
    assert judged(text)[0] is Verdict.SERVERS


@pytest.mark.parametrize(
    "text",
    [
        "Name Servers:\nRegistrar: registrar.example.com\n",
        "Name Server Handle...: NSGO94H-EXAMPLE\nRegistrar: example.net",
        "The name servers are listed at www.example.com",
        "DNS www example.com",
        "Name Server IP: 192.0.2.1",
        "Name Server: http://example.com/",
        "Name Server:\nwww.example.com is a site",
        "% Name Server: ns1.example.net",
        "Admin: ns1.example.net\n  ns2.example.net",
    ],
)
def test_other_names_are_no_name_servers(text: str) -> None:
    assert list(servers(text)) == []


def test_a_record_is_one_whatever_its_values_say() -> None:
    fields = [
        "Domain: example.com",
        "Owner: Limit Exceeded Ltd",
        "Note: access denied",
        "Phone: 1",
        "Mail: -",
        "Zip: 2",
    ]

    assert judged("\n".join(fields))[0] is Verdict.RECORD
