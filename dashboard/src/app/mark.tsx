/** A mast and its stays. */
export const Mark = () => (
  <svg viewBox="0 0 20 20" width="20" height="20" fill="none" stroke="currentColor" strokeWidth="1.7" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true">
    <path d="M8.3 2v14.5M8.3 2.6 16.8 16M8.3 7 2.8 16M1.5 16.8h17" />
  </svg>
);
