ALTER TABLE "events" ADD COLUMN IF NOT EXISTS "role" text;--> statement-breakpoint
ALTER TABLE "events" ADD COLUMN IF NOT EXISTS "previous_email" text;--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "users_password_cost" ON "users" USING btree (substring("password_hash" from '^(?:sha384:)?\$2[aby]\$([0-9]{2})\$') desc nulls last);