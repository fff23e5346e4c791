const express = require('express');
const os = require('os');
const sharp = require('sharp');

const app = express();
app.use(require('morgan')('tiny'));
app.use(express.static(`${__dirname}/public`));
app.get('/who', (_, answer) => answer.send(`${os.userInfo().username}\n`));
app.get('/picture', async (_, answer) => {
  const background = { r: 1, g: 2, b: 3 };
  answer.type('png').send(await sharp({ create: { width: 9, height: 9, channels: 3, background } }).png().toBuffer());
});
app.listen(13000, '127.0.0.1');
