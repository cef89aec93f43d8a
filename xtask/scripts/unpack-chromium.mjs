// Unpacks the Chromium of the npm package into the folder named by the first argument.
// The package unpacks into the folder for temporary files, and its libraries only where it takes the machine for a
// bare one, so it is told both.
process.env.TMPDIR = process.argv[1];
process.env.AWS_LAMBDA_JS_RUNTIME = "nodejs22.x";

const { default: chromium } = await import("@sparticuz/chromium");
console.log(await chromium.executablePath());
