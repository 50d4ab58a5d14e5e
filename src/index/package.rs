//! The packages that CC-FS makes: each proven before anything is done with it, and several as one.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, Seek};
use std::ops::ControlFlow;

use jiff::tz::TimeZone;
use zip::{ZipArchive, ZipWriter};

use super::error::IndexError;
use super::source::{Index, holds_recordings};

/// What a package was found to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proven {
    /// Good or bad.
    pub rows: u64,
    /// Those of them that cannot be used.
    pub bad: u64,
}

/// Reads all of a package once: every row, and to their ends the files that have none, so that the
/// checksum of each was held against it.
///
/// # Errors
/// It is no ZIP, or not a whole one.
pub fn prove(package: &File, zone: &TimeZone) -> Result<Proven, IndexError> {
    let mut proven = Proven::default();
    let index = Index::package(package.try_clone().map_err(IndexError::Open)?)?;
    index.read(zone, |entry| {
        proven.rows += 1;
        proven.bad += u64::from(entry.row.is_err());
        ControlFlow::Continue(())
    })?;
    let mut archive = ZipArchive::new(package).map_err(IndexError::Package)?;
    for at in 0..archive.len() {
        let mut file = archive.by_index(at).map_err(IndexError::Package)?;
        if !holds_recordings(&file.name().map_err(IndexError::Package)?) {
            let read = io::copy(&mut file, &mut io::sink());
            read.map_err(|error| IndexError::Package(error.into()))?;
        }
    }
    Ok(proven)
}

/// Makes one package of several, in a temporary file that has no name: the files of each as they
/// are packed, in the folder that stands beside it.
///
/// # Errors
/// There is no room for it, or a package is no ZIP.
pub fn join(packages: impl IntoIterator<Item = (String, File)>) -> Result<File, IndexError> {
    let file = tempfile::tempfile().map_err(IndexError::Spool)?;
    let mut joined = ZipWriter::new(BufWriter::new(file));
    for (folder, package) in packages {
        let mut package = ZipArchive::new(package).map_err(IndexError::Package)?;
        let mut taken = HashSet::new();
        for at in 0..package.len() {
            let file = package.by_index_raw(at).map_err(IndexError::Package)?;
            if file.is_dir() {
                continue;
            }
            let path = file.name().map_err(IndexError::Package)?.into_owned();
            let mut name = last_part(&path).to_owned();
            if !taken.insert(name.clone()) {
                name = format!("{at}/{name}");
            }
            joined.raw_copy_file_rename(file, format!("{folder}/{name}")).map_err(unwritten)?;
        }
    }
    let written = joined.finish().map_err(unwritten)?.into_inner();
    let mut file = written.map_err(|error| IndexError::Spool(error.into_error()))?;
    file.rewind().map_err(IndexError::Spool)?;
    Ok(file)
}

/// What a file is called: whoever unpacks it is led nowhere else.
fn last_part(path: &str) -> &str {
    match path.rsplit(['/', '\\']).next() {
        None | Some("" | "." | "..") => "file",
        Some(name) => name,
    }
}

/// It was read before: what fails is the temporary file.
fn unwritten(error: zip::result::ZipError) -> IndexError {
    match error {
        zip::result::ZipError::Io(error) => IndexError::Spool(error),
        other => IndexError::Package(other),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::write::SimpleFileOptions;

    use super::*;

    const GOOD: &str = "dev,7,1,512,1-1,1,2,2026-04-25 07:00:00,2026-04-25 07:01:00,,0,0,X:/1.V3";

    fn package(files: &[(&str, &str)]) -> File {
        let mut zip = ZipWriter::new(tempfile::tempfile().unwrap());
        for (name, text) in files {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap()
    }

    /// The rows, as their place and call id or what is wrong.
    fn told(package: File) -> Vec<String> {
        let mut told = Vec::new();
        let index = Index::package(package).unwrap();
        index
            .read(&TimeZone::UTC, |entry| {
                let call = entry.row.map(|row| row.call_id.unwrap().to_string());
                told.push(format!("{}: {}", entry.at, call.unwrap_or_else(|bad| bad.0)));
                ControlFlow::Continue(())
            })
            .unwrap();
        told
    }

    #[test]
    fn a_package_is_read_to_its_end_before_it_counts() {
        let good = |files: &[(&str, &str)]| prove(&package(files), &TimeZone::UTC).unwrap();
        let rows = format!("{GOOD}\nnot,a,row\n{GOOD}\n");
        let files =
            [("1_record_1.csv", rows.as_str()), ("1_record_2.csv", GOOD), ("1_call_1.csv", "x")];
        assert_eq!(good(&files), Proven { rows: 4, bad: 1 });
        // Days without recordings.
        assert_eq!(good(&[("1_call_1.csv", "x")]), Proven::default());
        assert_eq!(good(&[("1_record_1.csv", "")]), Proven::default());
        assert_eq!(good(&[]), Proven::default());
    }

    #[test]
    fn a_package_with_a_byte_wrong_or_missing_does_not_count() {
        let files = [("1_record_1.csv", GOOD), ("1_call_1.csv", "a call")];
        let options =
            SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, text) in files {
            zip.start_file(name, options).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        let whole = zip.finish().unwrap().into_inner();
        let proven = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            prove(&file, &TimeZone::UTC)
        };
        assert_eq!(proven(&whole).unwrap().rows, 1);
        for content in ["X:/1.V3", "a call"] {
            let at = whole.windows(content.len()).position(|part| part == content.as_bytes());
            let mut rotten = whole.clone();
            rotten[at.unwrap()] ^= 1;
            assert!(proven(&rotten).is_err(), "{content}");
        }
        for cut in 1..whole.len() {
            assert!(proven(&whole[..cut]).is_err(), "{cut} of {}", whole.len());
        }
    }

    #[test]
    fn packages_that_are_one_keep_all_their_files_apart() {
        let of = |call: &str| GOOD.replace("1-1", call);
        let (one, two, three) = (of("1-1"), of("1-2"), of("1-3"));
        let first = package(&[
            ("a/1_record_1.csv", &one),
            ("b\\1_record_1.csv", &two),
            ("1_call_1.csv", "x"),
        ]);
        let second = package(&[("../1_record_1.csv", &three), ("..", "x")]);
        let folders = ["2026-04-25", "2026-04-26"].map(str::to_owned);
        let joined = join(folders.clone().into_iter().zip([first, second])).unwrap();
        assert_eq!(prove(&joined, &TimeZone::UTC).unwrap(), Proven { rows: 3, bad: 0 });
        let names: Vec<_> = ZipArchive::new(&joined)
            .unwrap()
            .file_names()
            .map(|n| n.unwrap().to_string())
            .collect();
        assert_eq!(
            names,
            [
                "2026-04-25/1_record_1.csv",
                "2026-04-25/1/1_record_1.csv",
                "2026-04-25/1_call_1.csv",
                "2026-04-26/1_record_1.csv",
                "2026-04-26/file",
            ]
        );
        assert_eq!(
            told(joined),
            [
                "2026-04-25/1_record_1.csv, line 1: 1-1",
                "2026-04-25/1/1_record_1.csv, line 1: 1-2",
                "2026-04-26/1_record_1.csv, line 1: 1-3",
            ]
        );
        // None of which has anything.
        let none = join(folders.into_iter().zip([package(&[]), package(&[])])).unwrap();
        assert_eq!(told(none), [""; 0]);
    }
}
