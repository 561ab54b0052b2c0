from threatwalk.emulator.dns import records
from threatwalk.sample import Kind, Sample

IP = Sample(Kind.IPV4, "198.51.100.1")
DOMAIN = Sample(Kind.DOMAIN, "example.com")
HOST = Sample(Kind.HOSTNAME, "www.example.com")


def named(*names: str) -> list[Sample]:
    return [Sample(Kind.HOSTNAME, name) for name in names]


def test_a_name_has_its_addresses_servers_and_mail() -> None:
    zone = records(DOMAIN, [IP, Sample(Kind.IPV6, "2001:db8::1"), *named("ns1.host.net", "mail.example.com")])

    assert zone == {
        "A": ["198.51.100.1"],
        "AAAA": ["2001:db8::1"],
        "NS": ["ns1.host.net."],
        "MX": ["10 mail.example.com."],
    }


def test_one_other_name_of_a_host_is_its_alias() -> None:
    assert records(HOST, [IP, *named("edge.cdn.net")]) == {"A": ["198.51.100.1"], "CNAME": ["edge.cdn.net."]}


def test_a_registered_domain_has_no_alias() -> None:
    assert records(DOMAIN, named("edge.cdn.net")) == {"MX": ["10 edge.cdn.net."]}


def test_an_address_points_to_all_its_names() -> None:
    assert records(IP, [DOMAIN, HOST]) == {"PTR": ["example.com.", "www.example.com."]}


def test_nothing_found_is_an_empty_zone() -> None:
    assert records(IP, []) == records(HOST, []) == {}


def test_a_service_has_servers_and_a_domain_has_senders() -> None:
    service = Sample(Kind.HOSTNAME, "_sip._tcp.example.com")

    assert records(service, named("sip.example.com")) == {"SRV": ["0 5 5060 sip.example.com."]}
    assert records(DOMAIN, named("_spf.host.net", "spf2.host.net")) == {
        "TXT": ['"v=spf1 include:_spf.host.net include:spf2.host.net -all"']
    }
