module.exports = {
  entry: './client.jsx',
  output: { path: `${__dirname}/public`, filename: 'client.js' },
  module: {
    rules: [{
      test: /\.jsx$/,
      use: { loader: 'babel-loader', options: { presets: ['@babel/preset-env', '@babel/preset-react'] } },
    }],
  },
};
