// Browsers record in formats that libsndfile does not read; the browser itself can decode what it recorded.
function render({ model, el }) {
  const button = document.createElement("button");
  button.className = "jupyter-button widget-button microphone";
  Object.assign(button.style, { width: "auto", margin: "2px" });
  button.textContent = "● Record";
  el.append(button);
  let recorder = null;
  const hand_over = async (parts) => {
    const context = new AudioContext({ sampleRate: 16000 });
    const sound = await context.decodeAudioData(await new Blob(parts).arrayBuffer());
    await context.close();
    model.send({ rate: sound.sampleRate }, undefined, [sound.getChannelData(0).slice().buffer]);
  };
  button.onclick = async () => {
    if (recorder) { recorder.stop(); return; }
    const parts = [];
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      recorder = new MediaRecorder(stream);
      recorder.ondataavailable = (event) => parts.push(event.data);
      recorder.onstop = () => {
        stream.getTracks().forEach((track) => track.stop());
        recorder = null;
        button.textContent = "● Record again";
        hand_over(parts).catch((error) => { button.textContent = `Not recorded: ${error.message}`; });
      };
      recorder.start();
      button.textContent = "■ Stop";
    } catch (error) {
      recorder = null;
      button.textContent = `No microphone here: ${error.message}`;
    }
  };
}
export default { render };
