async () => {
  // While the first event is under way the visitor asks to be forgotten, and then does something new.
  const { dropWaiting, record, userId } = await import("/static/visitor.js");
  const real = window.fetch;
  const sent = [];
  let answer;
  window.fetch = (path, options) => {
    if (path !== "/v1/events") return real(path, options);
    sent.push(JSON.parse(options.body).events.map((event) => event.item_id));
    return new Promise((resolve) => {
      answer = () => resolve(new Response("{}", { status: 202 }));
      if (sent.length > 1) answer();
    });
  };
  const first = record("view", "i1");
  while (!sent.length) await new Promise((resolve) => setTimeout(resolve));
  dropWaiting(userId());
  const second = record("view", "i2");
  answer();
  await Promise.all([first, second]);
  return sent;
};
