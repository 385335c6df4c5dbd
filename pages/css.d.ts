/** The build puts what is imported into a stylesheet of the page. */
declare module '*.css'
