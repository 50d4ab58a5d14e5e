//! The store against S3 servers, over sockets.
