-- tokens_session_id, which it makes superfluous, stays for a version: dropped here, its table would be locked for readers until this index is built.
CREATE INDEX IF NOT EXISTS "tokens_session" ON "tokens" USING btree ("session_id","kind","created_at");
