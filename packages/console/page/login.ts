// The part after '#' is the view that was asked for. The browser keeps it through the log-in.
const form = document.querySelector('form');
if (form) form.action += location.hash;
