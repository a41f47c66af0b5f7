// A CustomMessage function that writes in the language that the client asked for.

const GREETINGS = { en: "Hello", de: "Hallo" };

export async function handler(event, context) {
  const { clientMetadata = {}, codeParameter, userAttributes } = event.request;
  if (clientMetadata.language === "none") throw new TypeError(`No words for ${event.userName}`);
  const greeting = GREETINGS[clientMetadata.language ?? "en"];
  event.response.emailSubject = `${greeting} from ${context.invokedFunctionArn.split(":").at(-1)}`;
  event.response.emailMessage = `${greeting} ${userAttributes.email}, ${codeParameter} (${event.triggerSource})`;
  return event;
}
