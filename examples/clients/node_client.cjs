// npm `taskcluster-client`: create a task and read its status. `npm install taskcluster-client` first.
// The root URL and the credentials are in the environment, as `eval $(taskbus signin)` sets them.
const taskcluster = require('taskcluster-client');

const main = async () => {
  const queue = new taskcluster.Queue(taskcluster.fromEnvVars());
  const taskId = taskcluster.slugid();
  await queue.createTask(taskId, {
    taskQueueId: 'demo/local',
    created: taskcluster.fromNowJSON(),
    deadline: taskcluster.fromNowJSON('1 hour'),
    expires: taskcluster.fromNowJSON('1 day'),
    payload: { command: ['echo', 'hello from Node'] },
    metadata: { name: 'hello', description: '', owner: 'me@example.com', source: 'https://example.com' },
  });
  console.log(taskId, (await queue.status(taskId)).status.state);
};

main();
