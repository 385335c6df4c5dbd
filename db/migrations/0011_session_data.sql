CREATE TABLE IF NOT EXISTS "session_data" (
	"session_id" uuid PRIMARY KEY NOT NULL
		CONSTRAINT "session_data_session_id_sessions_id_fk" REFERENCES "sessions"("id") ON DELETE cascade ON UPDATE no action,
	"version" uuid NOT NULL,
	"data" text NOT NULL,
	"erased_at" timestamp (3) with time zone
);