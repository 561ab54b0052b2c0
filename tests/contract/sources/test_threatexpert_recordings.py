"""ThreatExpert's recorded reports, read by its adapter. Expected pivots are written from the pages."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.contract.sources.recordings import ELSEWHERE, bodies, found, pivots, text

from threatwalk.errors import AnswerError
from threatwalk.sample import parse


def body(shared: Path, name: str) -> str:
    return text(shared / "data" / "providers" / "threatexpert" / name)


def test_every_recorded_body_is_read(shared: Path) -> None:
    read = {name: pivots("threatexpert", ELSEWHERE, raw) for name, raw in bodies(shared, "threatexpert")}

    assert len(read) >= 62
    assert all(read.values())  # each names at least the sample that it is about


REPORTS = {
    "00034268c4f9fc1d9811739a8b1c67ba": """
        sha1:e24121d3ce13196e889e9c582a1de19ccd51f43e
        md5:0a6ec8b9da3b32056df87a5069145195 sha1:26b5d4c80f5569de57e8c5106f4874f048c17e0b filename:00964.dat
        md5:6c989248b55ee521f7523f1bc16b3d7e sha1:30a0995a6e74a0c604571c61e8d5b1b281f9f5c8 filename:CDCLOG.txt
        hostname:www.58ad.cn domain:58ad.cn
        url:http://www.58ad.cn/api/get?id=8618 url:http://58ad.cn/api/get?id=8618""",
    "0005c979e53bc71df0e2adcab27dbd66": """
        sha1:c30b0245a04a7e5e576b6ed838aaefdb0d9befce hostname:game.kugou.com""",
    "00064675e5c51a4efc2cc709dcc4761a": """
        sha1:20f7f68c8b62466f878cdc75a549ed70708690f7 hostname:2128263477.gnway.cc domain:yulusa.com""",
    "0032d9093a0318d6b9f26ba206fa37b5": """
        sha1:- hostname:wo.mclive.top hostname:mmwl.mmwls.org ipv4:180.255.7.1""",
    "003c91ed71132e5be58cad812b27b134": "sha1:- ipv4:192.185.54.17",
    "0045a432813f792868b076519c9cd661": """
        sha1:b92c9eeb206b820ee9a9385fe656cce460dd79c6 hostname:update.adobe.com filename:1.txt
        url:http://www.54699.com/wm/ma/1.txt url:http://www.54699.com/wm/ma/2.txt
        url:http://www.54699.com/wm/ma/3.txt url:http://www.54699.com/wm/ma/4.txt
        url:http://www.54699.com/wm/ma/5.txt url:http://www.54699.com/wm/ma/6.txt
        url:http://www.54699.com/wm/ma/7.txt url:http://www.54699.com/wm/ma/8.txt
        url:http://www.54699.com/wm/ma/9.txt url:http://www.54699.com/wm/ma/10.txt
        url:http://www.54699.com/wm/ma/11.txt""",
    "00bb7cd27433fd4ad825b6a3c75c119a": """
        sha1:30938ec3ec569e76e2c66260504f348589b3bfcb ipv4:192.5.5.241 hostname:wangluode.f3322.org
        url:http://www.endbye.com/2013/TabTipVC.exe filename:test.exe""",
    "00bf12c5dd15070475978ec125f503d9": """
        sha1:4f814efdff345bcc834c916e49949c10f741a34f ipv4:192.5.5.241""",
    "002cea7de1157dfd01e43407e01b28f2": """
        sha1:f670d529de21323a7aed09f4be2458b5e0542f4f
        url:http://www.webinfo-net.co.ug/images/banners/MYThWO2taT04vubAzAszP6Jd
        md5:b332b8d5e6851ce225c9b84df2a66721 sha1:3ade45c0db75dc8c2add0dea5eb7cb910745a428
        md5:4ad177065f1fc04815671823c5b80eb8 sha1:1ecd21b9ba1e385a8170a6ad47e81c67cfbef08a
        filename:ahWkaKYl09dQvgER0l7lW6MerKAvg
        md5:d88cf0b1c3a9c81a49a5977836bb02d9 sha1:24c0d70d91eaca83ac67087dbe2c6ce2886ae500
        filename:Yo0u7gewU7tR8VuV8.vbs""",
    "0133c33d2ee4763bcb3bd28fa5080879": """
        sha1:6949f898cd05bf6e23dd39c3855b95973dc87fa0
        md5:3d36bd7a5a03de2695bef2816fa6f33c sha1:907de689a43ab4f231effcbadd6a3174ee6e5a0e
        filename:compete-header-long2.bmp
        md5:7c5f5a68051f6b0c0e9a2ad33c40d415 sha1:120865765927a61af83f02b83dc297eede61ec41
        filename:ConsumerInputSetup.exe
        md5:70e3b20d184751b642b06c5a7855c455 sha1:89b00dc942e9c4965765acdb08b3e4a392f2af66 filename:ginetc.dll
        md5:a3ed6f7ea493b9644125d494fbf9a1e6 sha1:ebeee67fb0b5b3302c69f47c5e7fca62e1a809d8 filename:IpConfig.dll
        md5:c17103ae9072a06da581dec998343fc1 sha1:b72148c6bdfaada8b8c3f950e610ee7cf1da1f8d filename:System.dll
        md5:d41d8cd98f00b204e9800998ecf8427e sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709 filename:out.html
        md5:bc308733568e737020e57b7b1f728cd2 sha1:e9be92ff577a48bd3650699356ed76b69d7e8895
        hostname:s.dfast.us hostname:i.gmtrack.com hostname:wpad.mrc.pctools.com""",
    "0140c52b5afa67707eadc0d0d6a6893c": """
        sha1:c8209b04d00f0074b1b91597771736b06e44caab
        md5:7c5f5a68051f6b0c0e9a2ad33c40d415 sha1:120865765927a61af83f02b83dc297eede61ec41
        filename:Brrxqo.dll filename:IxEHEo.dll
        md5:d66cce3416fd2f52428104595eba34ce sha1:e860b2b65258a240cbe5c6347ad394bf605807ba filename:CDCLOG.txt
        md5:058022e9b03eff57fe601736a9c62cde sha1:4aad135255fd1ccd9cf0884e49a686231b820401
        md5:27facf2b86e4be36750ca42dca4508ef sha1:04dd7cd2da1275197d48e951d3c8243daab66984
        hostname:www.go890.com""",
    "01579ae6b4a017e1d083b91dc9c48611": """
        sha1:a73e30dfcbf08d262f84072876b37935df310fcb filename:ggiogq.exe
        ipv4:118.193.155.28 hostname:qlsb.f3322.net domain:hackxiao.top""",
    "016000904c43579b70dfd0b306c03488": "sha1:-",  # it spoke with a private address alone
}


@pytest.mark.parametrize("md5", REPORTS)
def test_a_page_yields_what_it_says(shared: Path, md5: str) -> None:
    """`sha1:-` stands for the sample's own SHA-1, which the page names."""
    read = found("threatexpert", f"md5:{md5}", body(shared, f"report_{md5}.html"))
    expected = set(REPORTS[md5].split())

    if "sha1:-" in expected:
        assert sum(one.startswith("sha1:") for one in read) == 1
        read = {one for one in read if not one.startswith("sha1:")} | {"sha1:-"}
    assert read == expected


def test_names_with_spaces_are_whole(shared: Path) -> None:
    raw = body(shared, "report_0016298530fab347b4738feddda81921.html")

    assert found("threatexpert", "md5:0016298530fab347b4738feddda81921", raw) == {
        *("sha1:f5b6396df8a42e253f283ccbf682ffd45458a6ad", "filename:sIRC4.exe"),
        *("filename:Network Setup Wizard.exe", "filename:marijuana.txt"),
        *("md5:c0214c7723fe7bde6bc2834742bcc506", "sha1:f3d8e78975bf169fc1ed3ae95ad41d84ff6a36c3"),
    }


@pytest.mark.parametrize(
    ("name", "sample", "expected"),
    [
        pytest.param(
            "internetconnect",
            "md5:6b202cac32f4e7950515095b88fe25d3",
            """sha1:3f7df745f9d8758dae79230714c69399be5045b2 md5:48b40623f3c0e09bab0075db95eb5839
            sha1:31917198450f9c208a8aa62883b3a59196237c26 filename:svchost.exe hostname:www.wsuploads.info""",
            id="connections",
        ),
        pytest.param(
            "2",
            "md5:b6c39ff68346dcc8b67aa060defe40c2",
            """sha1:d55b0fb96fad96d203d10850469489fc03e6f2f7 md5:a9b5da9aec61657b32393d96217165f0
            sha1:80b5c577155acd269b450d70f6b2cbed693edf49 filename:WMSDKNSD.XML filename:audiohq.exe
            url:http://124.217.249.150/ul.jpg filename:caralho.bu filename:stream.cu
            url:http://www.bestfilehost.com/download.php?file=417f6b7a777f3349b8f3928c98c03833""",
            id="downloads; modified files are the victim's",
        ),
        pytest.param(
            "9",
            "md5:19e78a1a6370d7f18fcca4aedc9d1999",
            """sha1:7e0961466b904e686134c9856df0f668bcc5a1a9 ipv4:192.5.5.241 hostname:www.sendsmsfree.co.uk
            hostname:www.samair.ru domain:sonunigam.us""",
            id="hosts",
        ),
        pytest.param(
            "winhooks",
            "md5:2aba07eeeb55f6e48dcf276856a4e15d",
            """sha1:512588c30dff6980168a50a96a4ae4658ddc9667 ipv4:112.121.178.189
            url:http://112.121.178.189/api/urls/?ts=a38555d2&affid=63615
            url:http://judgesscarcely.cu.cc/f/notepad.exe?ts=a38555d2&affid=63615
            md5:5559d70188e0b0dcb317fcacc7ea490e sha1:7c7977946d8ca4fe05f2449d0cbafb6ae946dc84
            md5:d3110aa4fe657f22b011cf22d9c8216d sha1:c8ece738c0622ccd2f15f12bb0b87311a07aa35f filename:113750.bat
            md5:72f956a478ca8e663855fe3859c58b9a sha1:78f5eaf1030d71051bb9c6c15a89a739974bf58d
            filename:migpdump.dll""",
            id="a downloaded file has a report of its own",
        ),
    ],
)
def test_xml_says_the_same(shared: Path, name: str, sample: str, expected: str) -> None:
    assert found("threatexpert", sample, body(shared, f"maec_sample_report_{name}.xml")) == set(
        expected.split()
    )


def test_hosts_are_read_without_the_process_that_asked(shared: Path) -> None:
    read = found("threatexpert", "ipv4:203.0.113.9", body(shared, "maec_sample_report_drivers.xml"))

    assert {one for one in read if one.startswith("hostname:")} == {
        *("hostname:update.qvod.com", "hostname:track.qvod.com", "hostname:stun.qvod.com"),
        *("hostname:stun01.sipphone.com", "hostname:agent.qvod.com"),
    }


def test_findings_are_dated_by_the_submission_and_those_of_a_download_by_its_own(shared: Path) -> None:
    page = pivots("threatexpert", ELSEWHERE, body(shared, "report_0133c33d2ee4763bcb3bd28fa5080879.html"))
    xml = pivots("threatexpert", ELSEWHERE, body(shared, "maec_sample_report_internetconnect.xml"))

    dates = {str(pivot.found): pivot.first_seen for pivot in page}
    assert dates["hostname:s.dfast.us"] == datetime(2015, 9, 8, 14, 12, 10, tzinfo=UTC)
    assert dates["md5:bc308733568e737020e57b7b1f728cd2"] == datetime(2015, 9, 8, 14, 19, 23, tzinfo=UTC)
    assert {pivot.first_seen for pivot in xml} == {datetime(2008, 11, 5, 22, 57, 29, tzinfo=UTC)}


def test_a_page_in_other_markup_is_refused_only_where_it_is_cut_off(shared: Path) -> None:
    page = body(shared, "report_0140c52b5afa67707eadc0d0d6a6893c.html")
    xml = body(shared, "maec_sample_report_2.xml")

    assert found("threatexpert", str(ELSEWHERE), page.replace("</td>", "").replace("</li>", ""))
    for cut in (page[: len(page) // 2], xml[: len(xml) // 2]):
        with pytest.raises(AnswerError):
            pivots("threatexpert", parse("md5:0140c52b5afa67707eadc0d0d6a6893c"), cut)


@pytest.mark.parametrize(
    "raw",
    [
        *(
            "",
            "[]",
            '"ok"',
            "{}",
            '{"page 1": 7}',
            "<html>",
            "<report>",
            "<?xml version='1.0'?>",
            "no markup",
        ),
        "<html><head><title>Domain for sale</title></head><body>ThreatExpert</body></html>",
        "<html><body><h1>503 Service Unavailable</h1></body></html>",
    ],
)
def test_what_is_no_answer_is_refused(raw: str) -> None:
    with pytest.raises(AnswerError):
        pivots("threatexpert", ELSEWHERE, raw)
