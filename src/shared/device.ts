/** Where a request came from, as far as the server can tell; `requestId` is its `reqId` in the log. */
export interface Device { address: string, userAgent: string | null, requestId?: string }
