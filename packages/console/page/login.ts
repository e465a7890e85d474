// What stands after the '#' is the view that was asked for: the browser carries it through the log-in.
const form = document.querySelector('form');
if (form) form.action += location.hash;
