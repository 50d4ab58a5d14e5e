//! The store of the benches, which keeps sizes alone, takes nothing that is not what it is said to be.

use crate::support::s3::sink::Sink;

/// The check value of CRC-64/NVME is ae8b14860a799888.
const NINE: (&str, &str) = ("123456789", "rosUhgp5mIg=");
const OTHER: &str = "AAAAAAAAAAA=";

#[tokio::test]
async fn the_sink_of_the_benches_refuses_a_wrong_checksum() {
    let sink = Sink::start_tls(true).await;
    let ca = std::fs::read(sink.ca_file()).unwrap();
    let ca = reqwest::Certificate::from_pem(&ca).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([ca]).build().unwrap();
    let ask =
        async |method: &str, query: &str, header: (&'static str, &str), body: &'static str| {
            let url = format!("{}/bench/1.wav{query}", sink.endpoint());
            let request = client.request(method.parse().unwrap(), url);
            let answer = request.header(header.0, header.1).body(body).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
    let (crc, sha) = ("x-amz-checksum-crc64nvme", "x-amz-content-sha256");
    let bad = |code: &str| (400, format!("<Error><Code>{code}</Code></Error>"));

    assert_eq!(ask("PUT", "", (crc, OTHER), NINE.0).await, bad("BadDigest"));
    assert_eq!(ask("PUT", "", (sha, "00"), NINE.0).await, bad("XAmzContentSHA256Mismatch"));
    assert_eq!(
        ask("PUT", "?partNumber=1&uploadId=sink", (crc, OTHER), NINE.0).await,
        bad("BadDigest")
    );
    assert_eq!(sink.take(), (0, 0), "nothing of it is there");

    assert_eq!(ask("PUT", "", (crc, NINE.1), NINE.0).await.0, 200);
    assert_eq!(ask("PUT", "", (sha, "UNSIGNED-PAYLOAD"), NINE.0).await.0, 200);
    assert_eq!(sink.take(), (1, 9));

    // Parts that are right make an object that is another than was said.
    for (complete, status) in [(OTHER, 400), (NINE.1, 200)] {
        let part = ask("PUT", "?partNumber=1&uploadId=sink", (crc, NINE.1), NINE.0).await;
        assert_eq!(part.0, 200);
        let whole =
            ask("POST", "?uploadId=sink", (crc, complete), "<CompleteMultipartUpload/>").await;
        assert_eq!(whole.0, status);
    }
    assert_eq!(sink.take(), (1, 9));
}
