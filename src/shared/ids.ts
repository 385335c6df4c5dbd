/** The id of no user, for statements that cost the same where there is none; no id comes before it. */
export const nobody = '00000000-0000-0000-0000-000000000000'
