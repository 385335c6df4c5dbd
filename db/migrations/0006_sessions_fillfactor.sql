-- Room in each page for a session's next last use: written beside the row, so that no index hears of it (a heap-only tuple).
-- It counts for pages from now on; `vacuum full sessions` would give it to those that are there.
ALTER TABLE "sessions" SET (fillfactor = 85);
