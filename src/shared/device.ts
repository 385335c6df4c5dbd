/**
 * Where a request came from, as far as the server can tell; `requestId` is its `reqId` in the log, `acceptLanguage` the header of that
 * name.
 */
export interface Device { address: string, userAgent: string | null, requestId?: string, acceptLanguage?: string | undefined }
