use std::io::{Cursor, Read, Write};
use std::ops::ControlFlow;

use encoding_rs::GBK;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use zip::write::SimpleFileOptions;

use super::row::COLUMNS;
use super::table::Table;
use super::*;
use crate::request::{CallId, CcId, FileName, Wanted};

const CALL: &str = "1777093663-792075";
const FILE: &str = "X:/4/0/20260425/512/1629533.V3";
const PHONES: [&str; 2] = ["+4915550123", "5550199"];

/// A good row, with these columns changed.
fn row(changes: &[(usize, &str)]) -> String {
    let mut fields = [
        "dev",
        "7",
        "1",
        "512",
        CALL,
        PHONES[0],
        PHONES[1],
        "2026-04-25 07:07:43",
        "2026-04-25 07:12:44",
        "",
        "0",
        "0",
        FILE,
        "4",
        "0",
        "5",
        "",
        "17",
    ];
    for (column, text) in changes {
        fields[*column] = text;
    }
    fields.join(",")
}

fn table(lines: &[String]) -> Vec<u8> {
    lines.join("\r\n").into_bytes()
}

fn package(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// What is read, each as its position and the call id or the reason.
fn told(index: Index) -> Result<Vec<String>, IndexError> {
    let mut told = Vec::new();
    let size = index.size();
    let mut end = 0;
    index.read(&TimeZone::UTC, |entry| {
        assert!(entry.read > end, "it goes on");
        end = entry.read;
        let what = match entry.row {
            Ok(row) => row.call_id.map_or_else(|rule| rule.0, |id| id.to_string()),
            Err(bad) => bad.0,
        };
        told.push(format!("{}: {what}", entry.at));
        ControlFlow::Continue(())
    })?;
    assert!(size.is_none_or(|size| end <= size), "{end} of {size:?}");
    assert!(!PHONES.iter().any(|phone| told.concat().contains(phone)), "{told:?}");
    Ok(told)
}

/// The same, from a file and from a stream that gives a byte at a time.
fn read(bytes: &[u8]) -> Vec<String> {
    let whole = told(Index::seekable(Cursor::new(bytes.to_vec())).unwrap()).unwrap();
    let streamed = told(Index::stream(Trickle(Cursor::new(bytes.to_vec()))).unwrap()).unwrap();
    assert_eq!(whole, streamed);
    whole
}

fn rows(bytes: &[u8], zone: &TimeZone) -> Vec<Result<Row, BadRow>> {
    let mut rows = Vec::new();
    let index = Index::seekable(Cursor::new(bytes.to_vec())).unwrap();
    let visit = |entry: Entry| {
        rows.push(entry.row);
        ControlFlow::Continue(())
    };
    index.read(zone, visit).unwrap();
    rows
}

struct Trickle<R>(R);

impl<R: Read> Read for Trickle<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let end = buffer.len().min(1);
        self.0.read(&mut buffer[..end])
    }
}

#[test]
fn a_spreadsheet_may_have_written_another_separator() {
    for separator in [";", "\t"] {
        let quoted = format!("\"a{separator}b\"");
        let lines =
            [row(&[]), row(&[(4, "1777093663-2"), (0, "DEV")]), row(&[(4, "1777093663-3")])];
        let lines = lines.map(|line| line.replace(',', separator).replace("DEV", &quoted));
        let short = lines[0].split(separator).take(4).collect::<Vec<_>>().join(separator);
        let told = read(&table(&[&[String::new()], &lines[..], &[short]].concat()));
        let due = [
            format!("line 2: {CALL}"),
            "line 3: 1777093663-2".to_owned(),
            "line 4: 1777093663-3".to_owned(),
            "line 5: has 4 columns, fewer than 13".to_owned(),
        ];
        assert_eq!(told, due, "{separator:?}");
    }
    // The first row decides for the file, and one that could be either is of commas.
    let semicolons = row(&[]).replace(',', ";");
    assert_eq!(
        read(&table(&[row(&[]), semicolons])),
        [format!("line 1: {CALL}"), "line 2: has 1 columns, fewer than 13".to_owned()]
    );
    let either = row(&[(9, &";".repeat(12))]);
    assert_eq!(read(&table(&[either])), [format!("line 1: {CALL}")]);
}

#[test]
fn a_row_says_what_to_ask_for_and_when_it_was() {
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    let found = rows(row(&[]).as_bytes(), &berlin).remove(0).unwrap();
    let wanted = Wanted {
        call_id: Some(CallId::new(CALL).unwrap()),
        file_name: None,
        cc_id: Some(CcId::new("1").unwrap()),
        call_begin: Some("2026-04-25T05:07:43Z".parse().unwrap()),
        call_end: Some("2026-04-25T05:12:44Z".parse().unwrap()),
        ..Wanted::default()
    };
    assert_eq!(found.clone().wanted(By::CallId), Ok(wanted.clone()));
    let file_name = Some(FileName::new(FILE).unwrap());
    let by_file = Wanted { call_id: None, file_name, ..wanted };
    assert_eq!(found.wanted(By::FileName), Ok(by_file));
}

#[test]
fn a_name_that_is_unfit_spoils_the_row_only_for_who_asks_by_it() {
    let long = row(&[(4, "12345678901234567890123456")]);
    let found = rows(long.as_bytes(), &TimeZone::UTC).remove(0).unwrap();
    let bad = found.clone().wanted(By::CallId).unwrap_err();
    assert_eq!(bad.0, "call_id must have 1 to 25 characters, has 26");
    assert!(found.wanted(By::FileName).is_ok());
    let nameless = row(&[(12, "")]);
    let found = rows(nameless.as_bytes(), &TimeZone::UTC).remove(0).unwrap();
    let bad = found.clone().wanted(By::FileName).unwrap_err();
    assert_eq!(bad.0, "original_file_name must have 1 to 225 characters, has 0");
    assert!(found.wanted(By::CallId).is_ok());
}

#[test]
fn what_is_wrong_with_a_row_is_said_without_quoting_it() {
    let time = |column: &str| format!("{column} is no time as in 2026-04-25 05:12:44");
    let cases = [
        (
            row(&[(4, ""), (12, "")]),
            "call_id must have 1 to 25 characters, has 0, and \
          original_file_name must have 1 to 225 characters, has 0"
                .to_owned(),
        ),
        (row(&[(7, "2026-04-25T05:07:43")]), time("call_begin")),
        (row(&[(8, "2026-02-30 05:07:43")]), time("call_end")),
        (row(&[(8, "2026-4-25 005:07:43")]), time("call_end")),
        (row(&[(8, "0000-04-25 05:07:43")]), time("call_end")),
        (row(&[(8, "5550199")]), time("call_end")),
        (row(&[(2, &"1".repeat(65))]), "cc_id must have 1 to 64 characters, has 65".to_owned()),
        ("d,7,1,512,1,2,3,,,,0,5550199".to_owned(), "has 12 columns, fewer than 13".to_owned()),
        (
            row(&[(4, "1.77709E+20"), (12, "")]),
            "call_id was rounded by a spreadsheet; give the index as CC-FS made it, and \
             original_file_name must have 1 to 225 characters, has 0"
                .to_owned(),
        ),
        ("5550199".to_owned(), "has 1 columns, fewer than 13".to_owned()),
        (row(&[(5, "\"55\"50199")]), "has text after a closing quote".to_owned()),
        (row(&[(5, "\"5550199")]), "has a quote that is not closed".to_owned()),
        (
            row(&[(3, &"5".repeat(70_000))]),
            "is longer than 65536 bytes: a quote that is not closed?".to_owned(),
        ),
        // No more of it is held to look for its end.
        (
            row(&[(3, &format!("\"{}", "5".repeat(140_000)))]),
            "is longer than 65536 bytes: a quote that is not closed?".to_owned(),
        ),
    ];
    for (bad, reason) in cases {
        let lines = [row(&[]), bad, row(&[(4, "after")])];
        let expected =
            [format!("line 1: {CALL}"), format!("line 2: {reason}"), "line 3: after".to_owned()];
        assert_eq!(read(&table(&lines)), expected);
    }
}

#[test]
fn every_release_has_the_first_thirteen_columns() {
    let first = row(&[]).split(',').take(13).collect::<Vec<_>>().join(",");
    let widths = [first.clone(), first.clone() + ",", row(&[]), row(&[(17, "a,b,c")])];
    let expected = rows(row(&[]).as_bytes(), &TimeZone::UTC).remove(0);
    for line in &widths {
        let row = rows(line.as_bytes(), &TimeZone::UTC).remove(0);
        assert_eq!(row, expected, "{line}");
    }
    // Whatever their width, a quote that is not closed takes none of them along.
    let open = first.replace(",512,", ",\"open,");
    let closed = first.replace(",512,", ",open\",");
    let runs_on = "line 1: runs on over what looks like another row: a quote that is not closed?";
    let expected = [runs_on.to_owned(), format!("line 2: {CALL}")];
    assert_eq!(read(&table(&[open, closed])), expected);
}

#[test]
fn what_a_spreadsheet_left_in_cells_is_none_of_theirs() {
    let cells = |left: &str, right: &str| {
        let cell = |text: &str| format!("{left}{text}{right}");
        let fields = row(&[]).split(',').map(cell).collect::<Vec<_>>();
        fields.join(",")
    };
    let good = rows(row(&[]).as_bytes(), &TimeZone::UTC);
    let marks = [("", "\t"), (" ", " "), ("\u{a0}", "\u{3000}"), ("\u{200e}", ""), ("'", "")];
    let formulas = [("=\"", "\""), ("\"=\"\"", "\"\"\""), ("\"", "\"\t"), (" \"", "\"")];
    for (left, right) in marks.into_iter().chain(formulas) {
        let line = cells(left, right);
        assert_eq!(rows(line.as_bytes(), &TimeZone::UTC), good, "{line}");
    }
    // What is there no more cannot be asked for, but by the file.
    let rounded = row(&[(4, "1.77709E+20")]);
    let found = rows(rounded.as_bytes(), &TimeZone::UTC).remove(0).unwrap();
    assert!(found.call_id.is_err() && found.file_name.is_ok());
}

#[test]
fn lines_are_counted_through_quotes_empty_lines_and_line_breaks() {
    let broken = row(&[(3, "\"a \"\"b\"\",\r\n\n c\""), (4, "\"second\"")]);
    let lines = [String::new(), row(&[]), broken, String::new(), row(&[(4, "third")])];
    for end in ["", "\r\n", "\n", "\r"] {
        let mut bytes = table(&lines);
        bytes.extend_from_slice(end.as_bytes());
        let expected = [format!("line 2: {CALL}"), "line 3: second".into(), "line 7: third".into()];
        assert_eq!(read(&bytes), expected, "{end:?}");
    }
    assert_eq!(read(b""), Vec::<String>::new());
    assert_eq!(read(b"\r\n\n"), Vec::<String>::new());
}

#[test]
fn a_quote_that_is_not_closed_takes_no_other_line_along() {
    // To most readers these are one row, and line 2 is never heard of.
    let lines = [
        row(&[(3, "\"open")]),
        row(&[(4, "middle")]),
        row(&[(3, "open\""), (4, "third")]),
        row(&[(4, "last")]),
    ];
    let found = read(&table(&lines));
    let refused = "line 1: runs on over what looks like another row: a quote that is not closed?";
    assert_eq!(found, [refused, "line 2: middle", "line 3: third", "line 4: last"]);
}

#[test]
fn encodings_are_told_apart_row_by_row() {
    let named = |call: &str, agent: &str| row(&[(3, agent), (4, call)]);
    let gbk = |text: &str| GBK.encode(text).0.into_owned();
    let text = table(&[named("1", "ascii"), named("2", "张三"), named("3", "李四丂")]);
    let text = String::from_utf8(text).unwrap();
    let good = ["line 1: 1", "line 2: 2", "line 3: 3"];
    assert_eq!(read(text.as_bytes()), good);
    assert_eq!(read(format!("\u{feff}{text}").as_bytes()), good);
    assert_eq!(read(&gbk(&text)), good);

    // Names of files are decoded, so that they are sent as they are.
    let chinese = row(&[(12, "X:/录音/20260425/1.V3")]);
    for bytes in [chinese.clone().into_bytes(), gbk(&chinese)] {
        let row = rows(&bytes, &TimeZone::UTC).remove(0).unwrap();
        assert_eq!(row.file_name.unwrap().as_str(), "X:/录音/20260425/1.V3");
    }

    let wrong = |encoding| {
        format!("line 2: is not {encoding}, which the file is in as far as could be told")
    };
    let lines = |lines: &[Vec<u8>]| lines.join(&b'\n');
    let mixed = lines(&[named("1", "张三").into_bytes(), gbk(&named("2", "李四"))]);
    assert_eq!(read(&mixed), ["line 1: 1".to_owned(), wrong("UTF-8")]);
    let marked = lines(&[b"\xef\xbb\xbf".to_vec(), gbk(&named("2", "李四"))]);
    assert_eq!(read(&marked), [wrong("UTF-8")]);
    let mut torn = named("2", "x").into_bytes();
    let at = torn.windows(3).position(|bytes| bytes == b",x,").unwrap();
    torn[at + 1] = 0xff;
    let odd = lines(&[gbk(&named("1", "李四")), torn, named("3", "").into_bytes()]);
    assert_eq!(read(&odd), ["line 1: 1".to_owned(), wrong("GBK"), "line 3: 3".into()]);

    let utf16 = Index::seekable(Cursor::new(b"\xff\xfed\0e\0v\0".to_vec())).unwrap();
    assert!(matches!(told(utf16), Err(IndexError::Utf16(_))));
}

#[test]
fn times_are_read_on_the_tenants_clocks() {
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    let end = |text: &str, zone: &TimeZone| {
        let row = rows(row(&[(8, text)]).as_bytes(), zone).remove(0).unwrap();
        row.call_end.map(|time| time.to_string())
    };
    let cases = [
        ("", None),
        ("2026-03-29 01:59:59", Some("2026-03-29T00:59:59Z")),
        // Skipped: an hour later.
        ("2026-03-29 02:30:00", Some("2026-03-29T01:30:00Z")),
        // Shown twice: the first time.
        ("2026-10-25 02:30:00", Some("2026-10-25T00:30:00Z")),
    ];
    for (text, time) in cases {
        assert_eq!(end(text, &berlin).as_deref(), time, "{text}");
    }
    // Midnight does not exist there, the day does.
    let beirut = TimeZone::get("Asia/Beirut").unwrap();
    let skipped = end("2026-03-29 00:10:00", &beirut).unwrap();
    assert_eq!(beirut.to_datetime(skipped.parse().unwrap()).date().to_string(), "2026-03-29");
}

#[test]
fn of_a_package_the_record_files_are_read() {
    let one = |call: &str| table(&[row(&[(4, call)]), "x".to_owned()]);
    let bytes = package(&[
        ("out/20260425_call_1.csv", b"not,an,index".to_vec()),
        ("out/20260425_record_1.csv", one("first")),
        ("20260425_RECORD_12.CSV", one("second")),
        ("record.csv", one("third")),
        ("records.csv", b"not,an,index".to_vec()),
        ("20260425_record_1.csv.md5", b"0".to_vec()),
    ]);
    let bad = "has 1 columns, fewer than 13";
    let expected = [
        "out/20260425_record_1.csv, line 1: first".to_owned(),
        format!("out/20260425_record_1.csv, line 2: {bad}"),
        "20260425_RECORD_12.CSV, line 1: second".to_owned(),
        format!("20260425_RECORD_12.CSV, line 2: {bad}"),
        "record.csv, line 1: third".to_owned(),
        format!("record.csv, line 2: {bad}"),
    ];
    assert_eq!(read(&bytes), expected);

    let calls = package(&[("20260425_call_1.csv", one("first"))]);
    assert!(matches!(Index::seekable(Cursor::new(calls)), Err(IndexError::NoRecords)));
    let cut = bytes[..bytes.len() - 30].to_vec();
    assert!(matches!(Index::seekable(Cursor::new(cut)), Err(IndexError::Package(_))));
    let mut two_names = bytes.clone();
    let at = two_names.windows(10).position(|name| name == b"record_1.c").unwrap();
    two_names[at] = b'R';
    assert!(matches!(Index::seekable(Cursor::new(two_names)), Err(IndexError::Package(_))));
    let mut torn = bytes;
    let at = torn.windows(10).position(|name| name == b"record_1.c").unwrap() + 30;
    torn[at] ^= 0xff;
    let torn = told(Index::seekable(Cursor::new(torn)).unwrap());
    assert!(matches!(torn, Err(IndexError::Read(..))), "{torn:?}");
}

#[test]
fn who_has_had_enough_is_told_no_more() {
    let bytes = package(&[
        ("a_record_1.csv", table(&[row(&[]), row(&[])])),
        ("a_record_2.csv", table(&[row(&[])])),
    ]);
    let mut seen = 0;
    let index = Index::seekable(Cursor::new(bytes)).unwrap();
    let visit = |_| {
        seen += 1;
        ControlFlow::Break(())
    };
    index.read(&TimeZone::UTC, visit).unwrap();
    assert_eq!(seen, 1);
}

fn found(bytes: &[u8], chunk: u64, columns: usize) -> Vec<table::Found> {
    let mut table = Table::new(bytes, columns).reading(chunk);
    std::iter::from_fn(|| table.next().unwrap()).collect()
}

/// With commas or with line breaks; fields with both could look like rows.
fn any_row() -> impl Strategy<Value = Vec<String>> {
    let broken = prop::collection::vec("[a-z\r\n\"'é张]{0,9}", COLUMNS - 1);
    let broken = broken.prop_map(|rest| [vec!["dev".to_owned()], rest].concat());
    prop_oneof![prop::collection::vec("[ -~é张]{0,9}", COLUMNS), broken]
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        rows in prop::collection::vec(any_row(), 1..9),
        chunk in 1_u64..99,
    ) {
        let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
        let lines = rows.iter().map(|row| row.iter().map(quoted).collect::<Vec<_>>().join(","));
        let text = lines.collect::<Vec<_>>().join("\n");
        let mut line = 1;
        let found = found(text.as_bytes(), chunk, COLUMNS);
        prop_assert_eq!(found.len(), rows.len());
        for (found, row) in found.into_iter().zip(rows) {
            prop_assert_eq!(found.line, line);
            line += 1 + row.concat().matches('\n').count() as u64;
            let fields = found.fields.unwrap();
            let texts = fields.into_iter().map(|field| String::from_utf8(field).unwrap());
            prop_assert_eq!(texts.collect::<Vec<_>>(), row);
        }
    }

    /// Each line that is not empty is in a row that was handed out or in one that was refused.
    #[test]
    fn no_line_is_lost(text in "[ab,\"\r\n]{0,60}", chunk in 1_u64..9) {
        let found = found(text.as_bytes(), chunk, 3);
        let lines: Vec<_> = text.split('\n').collect();
        let mut heard = vec![false; lines.len()];
        for found in found {
            let line = usize::try_from(found.line).unwrap() - 1;
            let more = found.fields.map_or(0, |fields| {
                fields.concat().iter().filter(|byte| **byte == b'\n').count()
            });
            for heard in &mut heard[line..=line + more] {
                prop_assert!(!*heard, "a line is in two rows");
                *heard = true;
            }
        }
        for (line, heard) in lines.into_iter().zip(heard) {
            prop_assert!(heard || matches!(line, "" | "\r"), "{:?}", line);
        }
    }

    #[test]
    fn anything_is_read_to_its_end(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        if let Ok(index) = Index::stream(Cursor::new(bytes)) {
            let _ = index.read(&TimeZone::UTC, |_| ControlFlow::Continue(()));
        }
    }
}
