//! Files of certificates and keys in PEM form, as they are read at each new connection.

use std::io;
use std::path::Path;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What the file holds, without the byte order mark that editors of Windows put in front: behind
/// one the first certificate is not seen (it has to begin its line).
///
/// # Errors
/// The file cannot be read.
pub fn read_pem(path: &Path) -> io::Result<Vec<u8>> {
    let mut pem = std::fs::read(path)?;
    if pem.starts_with(BYTE_ORDER_MARK) {
        pem.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(pem)
}
