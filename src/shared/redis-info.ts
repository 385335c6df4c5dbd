/** Whether a field of INFO tells nothing: it is missing, or nothing but zeros, which a server without replication may say for ever. */
export const isHidden = (value: string | undefined): boolean => value === undefined || /^0+$/.test(value)
