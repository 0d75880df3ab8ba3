// What a Node program does with the npm client, whose root URL and credentials are in the environment.
// Prints one JSON object: what each step saw.
const taskcluster = require('taskcluster-client');

const WORKER = { workerGroup: 'node', workerId: 'node-1' };

const failure = async promise => {
  try {
    await promise;
  } catch (error) {
    return { statusCode: error.statusCode, code: error.code };
  }
  return null;
};

const main = async taskQueueId => {
  const queue = new taskcluster.Queue(taskcluster.fromEnvVars());
  const auth = new taskcluster.Auth(taskcluster.fromEnvVars());
  const rootUrl = process.env.TASKCLUSTER_ROOT_URL;
  const taskId = taskcluster.slugid();
  const seen = {};

  const created = await queue.createTask(taskId, {
    taskQueueId,
    created: taskcluster.fromNowJSON(),
    deadline: taskcluster.fromNowJSON('1 hour'),
    expires: taskcluster.fromNowJSON('1 day'),
    payload: { text: 'grüße' },
    metadata: { name: 'node', description: 'from npm', owner: 'a@example.com', source: 'https://example.com/' },
  });
  seen.created = created.status.state;
  seen.payload = (await queue.task(taskId)).payload;

  const claim = (await queue.claimWork(taskQueueId, WORKER)).tasks[0];
  seen.claimed = claim.status.taskId === taskId;
  let own = new taskcluster.Queue({ rootUrl, credentials: claim.credentials });
  const renewed = await own.reclaimTask(taskId, claim.runId);
  own = new taskcluster.Queue({ rootUrl, credentials: renewed.credentials });
  await own.createArtifact(taskId, claim.runId, 'private/about us.txt', {
    storageType: 'reference',
    expires: taskcluster.fromNowJSON('2 hours'),
    contentType: 'text/plain',
    url: 'https://example.com/notes.txt',
  });
  seen.artifacts = (await own.listArtifacts(taskId, claim.runId)).artifacts.map(item => item.name);
  seen.completed = (await own.reportCompleted(taskId, claim.runId)).status.state;

  const restricted = new taskcluster.Queue({ ...taskcluster.fromEnvVars(), authorizedScopes: ['queue:status:*'] });
  seen.restricted = await failure(restricted.cancelTask(taskId));
  const temporary = taskcluster.createTemporaryCredentials({
    clientId: 'node/temporary',
    start: new Date(),
    expiry: taskcluster.fromNow('1 hour'),
    scopes: ['auth:current-scopes', 'queue:status:*'],
    credentials: taskcluster.fromEnvVars().credentials,
  });
  seen.scopes = (await new taskcluster.Auth({ rootUrl, credentials: temporary }).currentScopes()).scopes;
  const wrong = { clientId: 'nobody', accessToken: taskcluster.slugid() };
  seen.unknown = await failure(new taskcluster.Queue({ rootUrl, credentials: wrong }).status(taskId));

  const url = queue.buildSignedUrl(queue.getLatestArtifact, taskId, seen.artifacts[0]);
  const reply = await fetch(url, { redirect: 'manual' });
  seen.signedUrl = { status: reply.status, location: reply.headers.get('location') };
  seen.clients = Array.isArray((await auth.listClients()).clients);
  console.log(JSON.stringify(seen));
};

main(process.argv[2]).catch(error => {
  console.error(error);
  process.exit(1);
});
