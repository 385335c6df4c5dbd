/** A line for the terminal of whoever runs the server, and what it is for. */
export function Command ({ text, line }: { text: string, line: string }) {
  return (
    <div class='command'>
      <p>{text}</p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: only what has the focus can be scrolled with the keyboard */}
      <pre dir='ltr' tabIndex={0}><code>{line}</code></pre>
    </div>
  )
}
