//! What nobody was told of: calls that ended yesterday, before there was an archive. CC-FS has them in its
//! index, and an audit finds that they are missing.

use jiff::ToSpan;

use crate::support::ccfs::Simulator;
use crate::support::world::{access_key, zone};
use crate::{row, traffic};

/// Calls of each tenant.
const CALLS: i64 = 40;

/// The index of this tenant has them, from nine o'clock on.
pub fn fill(ccfs: &Simulator, tenant: &str) {
    let today = callvault::clock::now().to_zoned(zone(tenant));
    let nine = today.date().yesterday().expect("a day of this century").at(9, 0, 0, 0);
    let rows = (0..CALLS).map(|call| {
        let end = nine.checked_add((7 * call).minutes()).expect("a time of this century");
        let instant = end.to_zoned(zone(tenant)).expect("a time of this century");
        // The instant is in the id, and so the date of the key.
        let id = format!("{}{}{call}-w64k", instant.timestamp().as_second(), traffic::OWN);
        row(&id, end)
    });
    ccfs.knows(&access_key(tenant), rows);
}
