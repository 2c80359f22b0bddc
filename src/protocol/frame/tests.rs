use super::*;
use crate::ids::ID_END;
use crate::protocol::checks::read_list;
use proptest::prelude::*;

const ME: u64 = 7;

fn rules(dialect: Dialect) -> Rules {
    Rules { sender: UserId::new(ME).unwrap(), content_max: 100, dialect }
}

fn read(text: &str) -> Result<ClientFrame<'_>, Failure> {
    parse(text, rules(Dialect::Document))
}

fn code(text: &str) -> &'static str {
    match read(text) {
        Ok(frame) => panic!("{text} gave {frame:?}"),
        Err(failure) => failure.code.as_str(),
    }
}

fn frame(member: &str, value: &str) -> String {
    let mut members = vec![
        ("fromId", "7"),
        ("toId", "8"),
        ("type", "0"),
        ("content", r#""hi""#),
        ("timestamp", r#""1""#),
        ("Describe", r#""""#),
    ];
    for slot in &mut members {
        if slot.0 == member {
            slot.1 = value;
        }
    }
    let members: Vec<_> = members
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("\"{name}\": {value}"))
        .collect();
    format!("{{{}}}", members.join(", "))
}

#[test]
fn the_documents_frame_is_read() {
    let text = r#"{
        "fromId": 7,
        "toId": 2,
        "type": 0,
        "content": "你好",
        "timestamp": "1589790567",
        "Describe": ""
    }"#;
    let expected = Send {
        to: UserId::new(2).unwrap(),
        content: "你好".into(),
        timestamp: "1589790567".into(),
        describe: "".into(),
        client_id: None,
        resend: false,
    };
    assert_eq!(read(text), Ok(ClientFrame::Send(expected)));
}

#[test]
fn members_of_the_wrong_kind_are_bad_frames() {
    let ids = [
        "-1",
        "8.0",
        "8e0",
        "-0",
        "08",
        "NaN",
        "\"8\"",
        "null",
        "true",
        "[8]",
        "",
        "9007199254740992",
        "18446744073709551615",
        "18446744073709551616",
        "1e400",
    ];
    for id in ids {
        assert_eq!(code(&frame("toId", id)), "bad_frame", "toId {id}");
        assert_eq!(code(&frame("fromId", id)), "bad_frame", "fromId {id}");
    }
    for kind in ["-1", "0.0", "\"0\"", "null", ""] {
        assert_eq!(code(&frame("type", kind)), "bad_frame", "type {kind}");
    }
    for text in ["5", "null", "", "[]", r#""\ud800""#, r#""\udc00""#, r#""\ud800x""#, "\"\n\""] {
        assert_eq!(code(&frame("content", text)), "bad_frame", "content {text}");
    }
    for timestamp in ["null", "true", "", "[1]", "{}", &format!("\"{}\"", "1".repeat(33))] {
        assert_eq!(code(&frame("timestamp", timestamp)), "bad_frame", "timestamp {timestamp}");
    }
    assert_eq!(code(&frame("Describe", "null")), "bad_frame");
    assert_eq!(code(&frame("Describe", "{}")), "bad_frame");
}

#[test]
fn what_is_not_one_object_is_a_bad_frame() {
    let good = frame("", "");
    let deep = "[".repeat(1_000_000);
    let unknown = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for text in [
        "",
        " ",
        "\u{feff}{}",
        "{}",
        "[]",
        "null",
        r#"[7,8,0,"hi","1",""]"#,
        &deep,
        &format!("{good}{{}}"),
        &format!("{good}{good}"),
        &format!("[{good}]"),
        &format!("{good}x"),
        &good.replace('}', ",}"),
        &good.replace('{', "{/**/"),
        &good.replace('{', r#"{"fromId":8,"#),
        &good.replace('{', r#"{"\u0066romId":7,"#),
        &good.replace('{', r#"{"content":"a","#),
        &good.replace('{', r#"{"timestamp":"1","#),
        &good.replace('{', r#"{"x":1,"x":1,"#),
        &good.replace('{', r#"{"x":[{"y":1,"y":1}],"#),
        &good.replace('{', &format!(r#"{{"x":{unknown},"#)),
        &good.replace('{', r#"{"x":"\ud800","#),
    ] {
        assert_eq!(code(text), "bad_frame", "{}", text.get(..40.min(text.len())).unwrap_or(""));
    }
}

#[test]
fn unknown_members_are_ignored() {
    let text = frame("", "").replace('{', r#"{"x":{"y":[1,{"z":null}]},"describe":5,"FromId":1,"#);
    assert!(matches!(read(&text), Ok(ClientFrame::Send(_))));
}

#[test]
fn each_rule_has_its_code() {
    assert_eq!(code(&frame("type", "2")), "unsupported_type");
    assert_eq!(code(&frame("type", "256")), "unsupported_type");
    assert_eq!(code(&frame("fromId", "8")), "from_mismatch");
    assert_eq!(code(&frame("fromId", "0")), "from_mismatch");
    assert_eq!(code(&frame("toId", "0")), "bad_recipient");
    assert_eq!(code(&frame("content", r#""""#)), "empty_content");
    assert_eq!(code(&frame("content", &format!("\"{}\"", "x".repeat(101)))), "content_too_large");
    assert!(read(&frame("content", &format!("\"{}\"", "x".repeat(100)))).is_ok());
    assert!(read(&frame("toId", "7")).is_ok(), "a note to oneself");
    assert!(read(&frame("content", r#""\u0000\u0007""#)).is_ok(), "control characters are text");
    assert!(read(&frame("Describe", "")).is_ok(), "Describe may be missing");
}

#[test]
fn a_number_as_timestamp_keeps_its_literal_text() {
    for literal in ["1589790567", "-1", "1.50", "1e5", "100000000000000000000"] {
        let text = frame("timestamp", literal);
        assert_eq!(read(&text).unwrap().timestamp(), literal);
    }
}

#[test]
fn a_failure_carries_the_timestamp_that_could_be_read() {
    assert_eq!(read(&frame("toId", "\"8\"")).unwrap_err().timestamp, "1");
    assert_eq!(read(&frame("Describe", "null")).unwrap_err().timestamp, "1");
    assert_eq!(read("{").unwrap_err().timestamp, "");
    assert_eq!(read(&format!("{}x", frame("", ""))).unwrap_err().timestamp, "1");
}

#[test]
fn failures_do_not_repeat_what_was_sent() {
    let secret = "s3cret";
    for text in [
        format!(r#"{{"{secret}":1,"{secret}":1}}"#),
        format!(r#"{{"toId":"{secret}"}}"#),
        secret.to_owned(),
        format!(r#""{secret}""#),
    ] {
        let failure = read(&text).unwrap_err();
        assert!(!failure.message.contains(secret), "{}", failure.message);
        assert!(failure.message.len() < 200);
    }
}

fn marks(content: &str) -> Result<Vec<u64>, &'static str> {
    let content = serde_json::to_string(content).unwrap();
    let text = frame("toId", "0").replace("\"type\": 0", "\"type\": 1");
    let text = text.replace(r#""content": "hi""#, &format!("\"content\": {content}"));
    match read(&text) {
        Ok(ClientFrame::MarkRead { ids, .. }) => Ok(ids.into_iter().map(MessageId::get).collect()),
        Ok(frame) => panic!("{frame:?}"),
        Err(failure) => Err(failure.code.as_str()),
    }
}

#[test]
fn a_read_list_is_numbers_or_digits() {
    assert_eq!(marks("[12,13,14]"), Ok(vec![12, 13, 14]));
    assert_eq!(marks(" [ \"12\" , 13 ] "), Ok(vec![12, 13]));
    assert_eq!(marks("[]"), Ok(vec![]));
    assert_eq!(marks(&format!("[{}]", ["1"; 1000].join(","))).map(|ids| ids.len()), Ok(1000));
    for bad in [
        "",
        "12",
        "[1,]",
        "[1.0]",
        "[-1]",
        "null",
        "{}",
        "[1][2]",
        "[[1]]",
        "[0]",
        "[\"\"]",
        "[\"+1\"]",
        "[\" 1\"]",
        "[18446744073709551616]",
        "[9007199254740992]",
        "[1,null]",
        &format!("[{}]", ["1"; 1001].join(",")),
    ] {
        assert_eq!(marks(bad), Err("bad_read_list"), "{bad}");
    }
}

#[test]
fn a_read_list_goes_to_the_system() {
    let text = frame("type", "1").replace(r#""hi""#, r#""[1]""#);
    assert_eq!(code(&text), "bad_recipient");
}

proptest! {
    #[test]
    fn what_a_client_writes_is_what_is_read(
        to in 1..ID_END, content in "\\PC{1,20}|[\\u{0}-\\u{1f}]{1,9}", timestamp in ".{0,8}", describe: String,
    ) {
        let text = serde_json::json!({
            "fromId": ME, "toId": to, "type": 0, "content": content, "timestamp": timestamp,
            "Describe": describe,
        });
        let text = text.to_string();
        let frame = parse(&text, Rules { content_max: 1000, ..rules(Dialect::Document) }).unwrap();
        prop_assert_eq!(frame, ClientFrame::Send(Send {
            to: UserId::new(to).unwrap(),
            content: content.into(),
            timestamp: timestamp.into(),
            describe: describe.into(), client_id: None, resend: false,
        }));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text: String) {
        let _ = read(&text);
        let _ = read(&format!("{{{text}}}"));
        let _ = read_list(&text);
    }

    #[test]
    fn a_mutated_frame_is_read_or_refused(at: prop::sample::Index, with: char) {
        let mut text: Vec<char> = frame("", "").chars().collect();
        let at = at.index(text.len());
        text[at] = with;
        let _ = read(&text.into_iter().collect::<String>());
    }
}

fn read_v2(text: &str) -> Result<ClientFrame<'_>, Failure> {
    parse(text, rules(Dialect::V2))
}

#[test]
fn a_plain_connection_knows_neither_names_nor_the_types_of_v2() {
    let named = frame("Describe", r#""{\"clientMsgId\":\"\"}""#);
    let Ok(ClientFrame::Send(send)) = read(&named) else { panic!("refused") };
    assert_eq!((send.client_id, &*send.describe), (None, r#"{"clientMsgId":""}"#));
    for r#type in ["4", "5"] {
        assert_eq!(code(&frame("type", r#type)), "unsupported_type");
    }
}

#[test]
fn v2_reads_the_name_of_a_packet_and_says_it_again_in_a_failure() {
    let describe = r#""{\"clientMsgId\":\"n\",\"resend\":true}""#;
    let named = frame("Describe", describe);
    let Ok(ClientFrame::Send(send)) = read_v2(&named) else { panic!("refused") };
    assert_eq!((send.client_id, send.resend), (ClientMsgId::new("n"), true));
    for broken in [named.replace("\"hi\"", "\"\""), named.replace("\"toId\": 8", "\"toId\": 0")] {
        let failure = read_v2(&broken).unwrap_err();
        assert_eq!(failure.client_id, ClientMsgId::new("n"), "{broken}");
    }
    let odd = read_v2(&frame("Describe", r#""{\"resend\":1,\"clientMsgId\":\"n\"}""#)).unwrap_err();
    assert_eq!((odd.code, odd.client_id), (FailureCode::BadFrame, ClientMsgId::new("n")));
    let failure = read_v2(&frame("Describe", r#""{\"clientMsgId\":7}""#)).unwrap_err();
    assert_eq!((failure.code, failure.client_id), (FailureCode::BadFrame, None));
}

#[test]
fn typing_and_refresh_are_v2s() {
    let typing = read_v2(r#"{"fromId":7,"toId":8,"type":4,"content":"","timestamp":"t"}"#);
    let to = UserId::new(8).unwrap();
    assert_eq!(typing, Ok(ClientFrame::Typing { timestamp: "t".into(), to }));
    let token = "x".repeat(101);
    let text = format!(r#"{{"fromId":7,"toId":0,"type":5,"content":"{token}","timestamp":"t"}}"#);
    let refresh = read_v2(&text);
    assert_eq!(
        refresh,
        Ok(ClientFrame::Refresh { timestamp: "t".into(), token: token.as_str().into() })
    );
    let refused = |text: &str| read_v2(text).unwrap_err().code.as_str();
    assert_eq!(refused(&text.replace("\"toId\":0", "\"toId\":8")), "bad_recipient");
    assert_eq!(refused(&frame("type", "4").replace("\"toId\": 8", "\"toId\": 0")), "bad_recipient");
    for r#type in ["2", "3", "6"] {
        assert_eq!(refused(&frame("type", r#type)), "unsupported_type");
    }
}
