/** The nil UUID (RFC 9562 5.9): no row has it, and it sorts before every other id. */
export const nilUuid = '00000000-0000-0000-0000-000000000000'

/** Whether `text` is a UUID in hexadecimal, in either case. PostgreSQL fails a statement that compares an id with anything else. */
export const isUuid = (text: string) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)
