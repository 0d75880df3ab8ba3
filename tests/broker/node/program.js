// What a JavaScript service does with a broker: declare, publish with confirms, consume, acknowledge.
// Prints one line of JSON with what it saw. Usage: node program.js <amqp url> <unique name>
const amqp = require('amqplib');

async function main(url, name) {
  const connection = await amqp.connect(url);
  const channel = await connection.createConfirmChannel();
  const seen = {};

  await channel.assertExchange(name, 'topic', { autoDelete: true });
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, name, 'route.#');
  await channel.prefetch(2);

  const returned = new Promise((resolve) => channel.once('return', resolve));
  channel.publish(name, 'nowhere', Buffer.from('come back'), { mandatory: true });
  seen.returned = (await returned).content.toString();

  const received = [];
  let consumer;
  const all = new Promise((resolve) => {
    consumer = channel.consume(queue, (message) => {
      received.push({
        body: message.content.toString().slice(0, 5),
        redelivered: message.fields.redelivered,
        headers: message.properties.headers,
      });
      if (received.length === 1) {
        channel.nack(message, false, true);
      } else {
        channel.ack(message);
      }
      if (received.length === 4) resolve();
    });
  });
  for (const body of ['one', 'two', 'x'.repeat(1024 * 1024)]) {
    channel.publish(name, 'primary.a', Buffer.from(body), { CC: ['route.b'], headers: { number: 1 }, persistent: true });
  }
  await channel.waitForConfirms();
  await all;
  seen.received = received;

  await channel.cancel((await consumer).consumerTag);
  channel.sendToQueue(queue, Buffer.from('fetched'));
  await channel.waitForConfirms();
  seen.fetched = (await channel.get(queue, { noAck: true })).content.toString();

  const other = await connection.createChannel();
  const failed = new Promise((resolve) => other.once('error', resolve));
  await other.checkQueue(`${name}.missing`).catch(() => {});
  seen.missing = (await failed).code;

  await channel.close();
  await connection.close();
  return seen;
}

main(process.argv[2], process.argv[3]).then(
  (seen) => console.log(JSON.stringify(seen)),
  (error) => { console.error(error); process.exit(1); },
);
