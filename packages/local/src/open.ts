import { spawn } from 'node:child_process';

/** Opens a page in the user's browser. @param note receives the address where no browser can be opened */
export function openBrowser(url: string, note: (line: string) => void): void {
  const command = process.platform === 'darwin' ? 'open' : 'xdg-open';
  const opener = spawn(command, [url], { detached: true, stdio: 'ignore' });
  const failed = () => note(`${command} finds no browser: open ${url} yourself`);
  opener.on('error', failed);
  opener.on('exit', (code) => code !== 0 && failed());
  opener.unref();
}
