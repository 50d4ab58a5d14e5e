//! What callvault says: CloudEvents out. Pure; knows no broker.
