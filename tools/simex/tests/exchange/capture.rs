//! A recorded capture behind every venue's protocol.
