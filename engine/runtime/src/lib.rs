//! The pinned loops that join the rooms: topology, wait strategies, supervision, replay, host checks.
