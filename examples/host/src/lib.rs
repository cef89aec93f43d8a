//! What both example applications share: their data, their pages, and how they start.
